//! A TAP device: the kernel's end of one dataplane interface.
//!
//! Frames are plain Ethernet without any header in front (IFF_NO_PI, no IFF_VNET_HDR): without that header the kernel
//! has no way to hand over partial checksums or segments larger than the MTU, so it finishes both before we see a
//! frame, and checks what we send. The device is not persistent: it goes with the process, however that ends.

use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::rtnl::Rtnl;
use super::socket::KernelError;
use super::types::MacAddress;

/// Longest name of a device, octets (IFNAMSIZ less the terminator).
const NAME_LEN_MAX: usize = 15;

/// What a tap is to look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapConfig {
    /// Name in the kernel, 1 to 15 octets.
    pub name: String,
    /// Ethernet address of the kernel's end. Give it one of its own, not that of a device the kernel also sees.
    pub mac: MacAddress,
    /// MTU in octets, without the Ethernet header.
    pub mtu: u32,
}

/// Why there is no tap.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The name is no name for a device.
    #[error("{0:?} is no name for a network device (1 to 15 octets, no slash, no space, not '.' or '..')")]
    Name(String),
    /// A device of that name exists.
    #[error("a network device called {0:?} exists already; another tandemd, or a device to rename")]
    Exists(String),
    /// The system refused.
    #[error("tap {name}: {source}")]
    Create {
        /// The tap.
        name: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// It was created, but could not be configured; it is gone again.
    #[error("tap {name}: {source}")]
    Configure {
        /// The tap.
        name: String,
        /// The kernel's answer.
        source: KernelError,
    },
}

/// An open tap. Dropping it removes the device. All methods take `&self`: one thread may receive while another sends.
pub struct Tap {
    device: SyncDevice,
    name: String,
    ifindex: u32,
}

impl Tap {
    /// Creates the tap in the calling thread's network namespace, with its address and MTU, and sets it up.
    ///
    /// # Errors
    /// See [`TapError`]. Needs CAP_NET_ADMIN and /dev/net/tun.
    pub fn create(config: &TapConfig) -> Result<Self, TapError> {
        let name = config.name.clone();
        let bad = |c: char| c == '/' || c == ':' || c == '%' || c.is_whitespace() || c.is_control();
        if name.is_empty() || name.len() > NAME_LEN_MAX || name == "." || name == ".." || name.contains(bad) {
            return Err(TapError::Name(name));
        }
        let configure = |source| TapError::Configure {
            name: config.name.clone(),
            source,
        };
        let create = |source| TapError::Create {
            name: config.name.clone(),
            source,
        };
        let mut rtnl = Rtnl::open().map_err(configure)?;
        // A persistent tap of that name would be taken over silently, with whatever is configured on it.
        match rtnl.link(&name) {
            Ok(_) => return Err(TapError::Exists(name)),
            Err(KernelError::NoDevice(_)) => {}
            Err(e) => return Err(configure(e)),
        }
        let device = DeviceBuilder::new()
            .name(&name)
            .layer(Layer::L2)
            .packet_information(false)
            .offload(false)
            .multi_queue(false)
            .enable(false)
            .build_sync()
            .map_err(create)?;
        device.set_nonblocking(true).map_err(create)?;
        let ifindex = rtnl.link(&name).map_err(configure)?.ifindex;
        rtnl.set_mac(ifindex, config.mac).map_err(configure)?;
        rtnl.set_mtu(ifindex, config.mtu).map_err(configure)?;
        rtnl.promote_secondaries(ifindex).map_err(configure)?;
        rtnl.set_up(ifindex, true).map_err(configure)?;
        Ok(Self {
            device,
            name,
            ifindex,
        })
    }

    /// Takes one frame that the kernel sent, without waiting. `Ok(None)`: none waits. A frame longer than the buffer
    /// is cut: give it MTU + 18 octets (Ethernet header and a VLAN tag).
    ///
    /// # Errors
    /// The system's: ENETDOWN ("device down") while the tap is administratively down.
    pub fn recv(&self, frame: &mut [u8]) -> std::io::Result<Option<usize>> {
        loop {
            match self.device.recv(frame) {
                Ok(length) => return Ok(Some(length)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Hands the kernel one frame (without frame check sequence), without waiting. `Ok(false)`: no room, drop it
    /// and count it.
    ///
    /// # Errors
    /// The system's: EIO while the tap is administratively down, EINVAL for less than an Ethernet header.
    pub fn send(&self, frame: &[u8]) -> std::io::Result<bool> {
        loop {
            match self.device.send(frame) {
                Ok(_) => return Ok(true),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Name in the kernel at creation.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kernel's number.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

impl AsRawFd for Tap {
    fn as_raw_fd(&self) -> RawFd {
        self.device.as_raw_fd()
    }
}
