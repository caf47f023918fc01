//! Telling the neighbours whose an address is now: gratuitous ARP and unsolicited neighbour advertisements.
//!
//! They go through a packet socket on the tap, so they leave by the port as all frames of the kernel mirror do, with the
//! tap's address. The socket takes no frame in. It is opened ahead of need, and sending is one system call a frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};
use tandem_wire::checksum::pseudo_v6;
use tandem_wire::ethernet::{self, Mac};
use tandem_wire::icmp6;

use super::types::MacAddress;

/// Announcements of an address that the spec wants where the configuration says nothing: the first at once.
pub const ANNOUNCEMENTS: u8 = 4;
/// Between two announcements of an address. RFC 4861, 7.2.6: at least RetransTimer, 1 s.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(1);

const ARP_LEN: usize = 28;
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
/// All nodes of the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
/// RFC 4861, 4.4: from a router, and overriding what is known. Without the first, hosts would take us off their routers.
const ROUTER_AND_OVERRIDE: u8 = 0b1010_0000;
/// Target link-layer address (RFC 4861, 4.6.1), in units of eight octets.
const OPTION_TARGET_MAC: [u8; 2] = [2, 1];
/// Of the advertisement: ICMPv6 header with flags, target, option.
const ADVERTISEMENT_LEN: usize = icmp6::HEADER_LEN + 16 + 8;
const IPV6_HEADER_LEN: usize = 40;
const ICMP6: u8 = 58;

/// Why neighbours could not be told.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// The device is not there, or is no Ethernet device.
    #[error("no Ethernet device is called {0:?}")]
    NoDevice(String),
    /// The system refused.
    #[error("{what} on {device}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The device's name.
        device: String,
        /// The system's answer.
        source: std::io::Error,
    },
}

/// The frames that announce an address, in the order to be sent: for IPv4 an ARP announcement (RFC 5227, 2.3) and a gratuitous
/// reply, since some hosts believe only the one and some only the other; for IPv6 an unsolicited neighbour advertisement
/// (RFC 4861, 7.2.6). Each is a whole Ethernet frame without padding.
#[must_use]
pub fn frames(address: IpAddr, mac: MacAddress) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(v4) => vec![arp(ARP_REQUEST, v4, mac, [0; 6]), arp(ARP_REPLY, v4, mac, mac)],
        IpAddr::V6(v6) => vec![advertisement(v6, mac)],
    }
}

/// RFC 826; sender and target address are the same.
fn arp(operation: u16, address: Ipv4Addr, mac: MacAddress, target: MacAddress) -> Vec<u8> {
    let mut frame = headed(Mac::BROADCAST, mac, ethernet::ARP, ARP_LEN);
    // Ethernet, IPv4, and the lengths of their addresses.
    frame.extend([0, 1, 8, 0, 6, 4]);
    frame.extend(operation.to_be_bytes());
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend(target);
    frame.extend(address.octets());
    frame
}

fn advertisement(address: Ipv6Addr, mac: MacAddress) -> Vec<u8> {
    let mut frame = headed(
        ALL_NODES_MAC,
        mac,
        ethernet::IPV6,
        IPV6_HEADER_LEN + ADVERTISEMENT_LEN,
    );
    let length = ADVERTISEMENT_LEN as u16;
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    // RFC 4861, 7.1.2: any other hop limit than 255 is not believed.
    frame.extend([ICMP6, 255]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    let mut message = vec![
        icmp6::NEIGHBOUR_ADVERTISEMENT,
        0,
        0,
        0,
        ROUTER_AND_OVERRIDE,
        0,
        0,
        0,
    ];
    message.extend(address.octets());
    message.extend(OPTION_TARGET_MAC);
    message.extend(mac);
    let sum = pseudo_v6(address.to_bits(), ALL_NODES.to_bits(), ICMP6, u32::from(length));
    let checksum = sum.slice(&message).finish();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(message);
    frame
}

/// An Ethernet header, with room for what follows.
fn headed(to: Mac, from: MacAddress, ethertype: u16, room: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ethernet::HEADER_LEN + room);
    frame.extend(to.0);
    frame.extend(from);
    frame.extend(ethertype.to_be_bytes());
    frame
}

/// Sends announcements on one device.
pub struct Announcer {
    socket: OwnedFd,
    device: LinkAddr,
    name: String,
    mac: MacAddress,
}

impl Announcer {
    /// Opens a packet socket in the calling thread's network namespace. Needs CAP_NET_RAW.
    ///
    /// # Errors
    /// When there is no such device, or the system gives no socket.
    pub fn open(device: &str) -> Result<Self, AnnounceError> {
        let failed = |what| {
            move |errno: nix::errno::Errno| AnnounceError::System {
                what,
                device: device.to_owned(),
                source: errno.into(),
            }
        };
        // The list has the device's number in the form that the socket wants.
        let mut all = getifaddrs().map_err(failed("list of devices"))?;
        let found = all.find_map(|entry| {
            let address = entry.address.filter(|_| entry.interface_name == device)?;
            address.as_link_addr().copied()
        });
        let (Some(link), Some(mac)) = (found, found.and_then(|link| link.addr())) else {
            return Err(AnnounceError::NoDevice(device.to_owned()));
        };
        // No protocol: the socket takes in nothing.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, flags, None).map_err(failed("packet socket"))?;
        Ok(Self {
            socket,
            device: link,
            name: device.to_owned(),
            mac,
        })
    }

    /// Announces every address that the device has now once: also those that somebody else put on it.
    ///
    /// # Errors
    /// As [`Announcer::announce`]; or the system does not say which those are.
    pub fn announce_own(&self) -> Result<(), AnnounceError> {
        let all = getifaddrs().map_err(|errno| AnnounceError::System {
            what: "list of addresses",
            device: self.name.clone(),
            source: errno.into(),
        })?;
        for entry in all.filter(|entry| entry.interface_name == self.name) {
            let Some(address) = entry.address else { continue };
            if let Some(v4) = address.as_sockaddr_in() {
                self.announce(v4.ip().into())?;
            } else if let Some(v6) = address.as_sockaddr_in6() {
                self.announce(v6.ip().into())?;
            }
        }
        Ok(())
    }

    /// Announces an address once.
    ///
    /// # Errors
    /// The system's, for example that the device is down or its queue is full. What comes after a refused frame is not sent.
    pub fn announce(&self, address: IpAddr) -> Result<(), AnnounceError> {
        for frame in frames(address, self.mac) {
            let sent = sendto(self.socket.as_raw_fd(), &frame, &self.device, MsgFlags::empty());
            sent.map_err(|errno| AnnounceError::System {
                what: "announcement",
                device: self.name.clone(),
                source: errno.into(),
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_wire::ipv6::Ipv6;

    const MAC: MacAddress = [2, 0, 0, 0, 0, 7];

    #[test]
    fn an_ipv4_address_is_announced_and_answered_for() {
        let frames = frames([192, 0, 2, 1].into(), MAC);
        assert_eq!(frames.len(), 2);
        for (frame, operation, target) in [(&frames[0], 1, [0; 6]), (&frames[1], 2, MAC)] {
            let meta = ethernet::parse(frame).expect("an Ethernet frame");
            assert_eq!(
                (meta.dst, meta.src, meta.ethertype),
                (Mac::BROADCAST, Mac(MAC), ethernet::ARP)
            );
            let mut wanted = vec![0, 1, 8, 0, 6, 4, 0, operation];
            wanted.extend(MAC);
            wanted.extend([192, 0, 2, 1]);
            wanted.extend(target);
            wanted.extend([192, 0, 2, 1]);
            assert_eq!(frame[ethernet::HEADER_LEN..], wanted);
        }
    }

    #[test]
    fn an_ipv6_address_is_advertised_to_all_nodes_with_the_override_flag() {
        let address: Ipv6Addr = "2001:db8::1".parse().expect("an address");
        let frames = frames(address.into(), MAC);
        assert_eq!(frames.len(), 1);
        let meta = ethernet::parse(&frames[0]).expect("an Ethernet frame");
        assert_eq!(
            (meta.dst, meta.src, meta.ethertype),
            (ALL_NODES_MAC, Mac(MAC), ethernet::IPV6)
        );
        let packet = Ipv6::new_checked(&frames[0][ethernet::HEADER_LEN..]).expect("an IPv6 packet");
        assert_eq!(
            (packet.src(), packet.dst()),
            (address.to_bits(), ALL_NODES.to_bits())
        );
        assert_eq!(frames[0][ethernet::HEADER_LEN + 7], 255, "hop limit");
        let message = icmp6::Icmp6::new_checked(packet.payload()).expect("an ICMPv6 message");
        assert!(message.verify_checksum(packet.src(), packet.dst()));
        assert_eq!(
            (message.icmp_type(), message.code()),
            (icmp6::NEIGHBOUR_ADVERTISEMENT, 0)
        );
        assert_eq!(message.word(), 0xa000_0000, "router and override, not solicited");
        let (target, option) = message.payload().split_at(16);
        assert_eq!(target, address.octets());
        assert_eq!(option, [&[2, 1][..], &MAC].concat());
    }
}
