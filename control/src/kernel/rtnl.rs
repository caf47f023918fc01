//! Changes that Tandem makes in the kernel: links, addresses, and wishes to resolve a neighbour.

use std::net::IpAddr;

use super::codec::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Request};
use super::links::LinkRecord;
use super::message::{
    AF_INET, AF_INET6, AF_UNSPEC, Event, IFF_UP, IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, NDA_DST, NTF_USE,
    RTM_DELADDR, RTM_GETLINK, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWNEIGH, decode,
};
use super::socket::{KernelError, RequestSocket};
use super::types::MacAddress;

const IFLA_CARRIER: u16 = 33;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INET_CONF: u16 = 1;
const IPV4_DEVCONF_PROMOTE_SECONDARIES: u16 = 20;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;

/// A socket for changes in one network namespace: that of the thread that opened it. Needs CAP_NET_ADMIN there.
pub struct Rtnl {
    socket: RequestSocket,
}

impl Rtnl {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the system gives no socket.
    pub fn open() -> Result<Self, KernelError> {
        Ok(Self {
            socket: RequestSocket::open()?,
        })
    }

    /// Looks a device up by name.
    ///
    /// # Errors
    /// [`KernelError::NoDevice`] when there is none of that name.
    pub fn link(&mut self, name: &str) -> Result<LinkRecord, KernelError> {
        let mut found = None;
        let request =
            Request::new(RTM_GETLINK, NLM_F_ACK, &[0; 16]).attribute(IFLA_IFNAME, &terminated(name));
        let result = self.socket.execute(
            request,
            || format!("show {name}"),
            |message| {
                if let Some(Event::Link(link)) = decode(message) {
                    found = Some(link);
                }
            },
        );
        match (result, found) {
            (Err(e), _) if e.errno() == Some(nix::libc::ENODEV) => {
                Err(KernelError::NoDevice(name.to_owned()))
            }
            (Err(e), _) => Err(e),
            (Ok(()), Some(link)) => Ok(link),
            (Ok(()), None) => Err(KernelError::Malformed("RTM_GETLINK")),
        }
    }

    /// Sets a device administratively up or down.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_up(&mut self, ifindex: u32, up: bool) -> Result<(), KernelError> {
        let request = Request::new(
            RTM_NEWLINK,
            NLM_F_ACK,
            &link_header(ifindex, if up { IFF_UP } else { 0 }, IFF_UP),
        );
        self.run(request, || {
            format!("set device {ifindex} {}", if up { "up" } else { "down" })
        })
    }

    /// Sets a device's MTU, octets.
    ///
    /// # Errors
    /// When the kernel refuses, e.g. a value out of the device's range.
    pub fn set_mtu(&mut self, ifindex: u32, mtu: u32) -> Result<(), KernelError> {
        let request = Request::new(RTM_NEWLINK, NLM_F_ACK, &link_header(ifindex, 0, 0))
            .attribute(IFLA_MTU, &mtu.to_ne_bytes());
        self.run(request, || format!("set the MTU of device {ifindex} to {mtu}"))
    }

    /// Sets a device's Ethernet address.
    ///
    /// # Errors
    /// When the kernel refuses, e.g. a multicast address.
    pub fn set_mac(&mut self, ifindex: u32, mac: MacAddress) -> Result<(), KernelError> {
        let request =
            Request::new(RTM_NEWLINK, NLM_F_ACK, &link_header(ifindex, 0, 0)).attribute(IFLA_ADDRESS, &mac);
        self.run(request, || {
            format!("set the address of device {ifindex} to {mac:02x?}")
        })
    }

    /// Gives a tap carrier or takes it, so that the kernel and its routing daemons see the state of the port.
    ///
    /// # Errors
    /// When the kernel refuses: not every kind of device allows it (taps do).
    pub fn set_carrier(&mut self, ifindex: u32, carrier: bool) -> Result<(), KernelError> {
        let request = Request::new(RTM_NEWLINK, NLM_F_ACK, &link_header(ifindex, 0, 0))
            .attribute(IFLA_CARRIER, &[u8::from(carrier)]);
        self.run(request, || {
            format!("set the carrier of device {ifindex} to {carrier}")
        })
    }

    /// Makes IPv4 addresses of a device outlive an earlier one of the same subnet. By default the kernel removes with the
    /// first address of a subnet all others of it: a reload that changes the interface's own would take virtual ones along.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn promote_secondaries(&mut self, ifindex: u32) -> Result<(), KernelError> {
        // IFLA_AF_SPEC { AF_INET { IFLA_INET_CONF { IPV4_DEVCONF_PROMOTE_SECONDARIES } } }
        let conf = nested(IPV4_DEVCONF_PROMOTE_SECONDARIES, &1u32.to_ne_bytes());
        let inet = nested(u16::from(AF_INET), &nested(IFLA_INET_CONF, &conf));
        let request =
            Request::new(RTM_NEWLINK, NLM_F_ACK, &link_header(ifindex, 0, 0)).attribute(IFLA_AF_SPEC, &inet);
        self.run(request, || {
            format!("let addresses of device {ifindex} outlive others")
        })
    }

    /// Adds an address. `Ok(false)`: it was there already.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn add_address(&mut self, ifindex: u32, address: IpAddr, length: u8) -> Result<bool, KernelError> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let request = address_request(RTM_NEWADDR, flags, 0, ifindex, address, length);
        self.add_address_by(request, ifindex, address, length)
    }

    /// Has the kernel tell all that listen of an address once more. One that is not there any more is put in again.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn repeat_address(&mut self, ifindex: u32, address: IpAddr, length: u8) -> Result<(), KernelError> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        let request = address_request(RTM_NEWADDR, flags, 0, ifindex, address, length);
        self.run(request, || {
            format!("repeat {address}/{length} of device {ifindex}")
        })
    }

    /// As [`Rtnl::add_address`], with a request made by the caller.
    pub(super) fn add_address_by(
        &mut self,
        request: Request,
        ifindex: u32,
        address: IpAddr,
        length: u8,
    ) -> Result<bool, KernelError> {
        match self.run(request, || format!("add {address}/{length} to device {ifindex}")) {
            Ok(()) => Ok(true),
            Err(e) if e.errno() == Some(nix::libc::EEXIST) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Removes an address. `Ok(false)`: it was not there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove_address(&mut self, ifindex: u32, address: IpAddr, length: u8) -> Result<bool, KernelError> {
        let request = address_request(RTM_DELADDR, NLM_F_ACK, 0, ifindex, address, length);
        match self.run(request, || {
            format!("remove {address}/{length} from device {ifindex}")
        }) {
            Ok(()) => Ok(true),
            Err(e) if matches!(e.errno(), Some(nix::libc::EADDRNOTAVAIL | nix::libc::ENODEV)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Tells the kernel that a packet wants this neighbour (NTF_USE): an unknown or failed one is resolved, a stale
    /// one probed. ARP and ND messages leave through the device.
    ///
    /// # Errors
    /// When the kernel refuses: its neighbour table is full, the device is down, the address is no neighbour's.
    pub fn use_neighbour(&mut self, ifindex: u32, address: IpAddr) -> Result<(), KernelError> {
        let mut fixed = [0u8; 12];
        fixed[0] = family(address);
        fixed[4..8].copy_from_slice(&ifindex.to_ne_bytes());
        fixed[10] = NTF_USE;
        let request = with_address(
            Request::new(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE, &fixed),
            NDA_DST,
            address,
        );
        self.run(request, || format!("resolve {address} on device {ifindex}"))
    }

    fn run(&mut self, request: Request, what: impl FnOnce() -> String) -> Result<(), KernelError> {
        self.socket.execute(request, what, |_| {})
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

/// An attribute inside another one; its value's length is a multiple of 4.
fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (value.len() as u16).saturating_add(4);
    [&length.to_ne_bytes(), &kind.to_ne_bytes(), value].concat()
}

pub(super) fn terminated(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

pub(super) fn with_address(request: Request, kind: u16, address: IpAddr) -> Request {
    match address {
        IpAddr::V4(v4) => request.attribute(kind, &v4.octets()),
        IpAddr::V6(v6) => request.attribute(kind, &v6.octets()),
    }
}

/// `struct ifinfomsg`.
fn link_header(ifindex: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut fixed = [0u8; 16];
    fixed[0] = AF_UNSPEC;
    fixed[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..16].copy_from_slice(&change.to_ne_bytes());
    fixed
}

/// `struct ifaddrmsg`: family, prefix length, flags (`marks`: IFA_F_*), scope, index.
pub(super) fn address_request(
    kind: u16,
    flags: u16,
    marks: u8,
    ifindex: u32,
    address: IpAddr,
    length: u8,
) -> Request {
    let mut fixed = [0u8; 8];
    fixed[0] = family(address);
    fixed[1] = length;
    fixed[2] = marks;
    fixed[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    let request = Request::new(kind, flags, &fixed);
    let request = with_address(with_address(request, IFA_LOCAL, address), IFA_ADDRESS, address);
    match address {
        // As `ip address add A/L brd +` does; RFC 3021: a /31 has no broadcast address.
        IpAddr::V4(v4) if length < 31 => {
            let hosts = u32::MAX.checked_shr(u32::from(length)).unwrap_or(0);
            request.attribute(IFA_BROADCAST, &(v4.to_bits() | hosts).to_be_bytes())
        }
        _ => request,
    }
}
