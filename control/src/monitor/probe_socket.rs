//! The sockets that probes of tracked IPs leave by: one for each device, source address and way. They are bound to both, so a probe
//! never leaves from a virtual address.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::sockopt::{BindToDevice, Ipv6MulticastHops};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, bind, recv,
    sendto, setsockopt, socket,
};

use super::probe_message::{Cookie, Reply, arp_reply, arp_request, payload4, solicitation};
use super::tracked::Probe;
use crate::config::TrackMethod;

/// Longer than any answer that counts.
const MESSAGE_MAX: usize = 2048;
/// RFC 4861, 7.1.1: any other hop limit than 255 is not believed.
const HOPS: i32 = 255;
/// Answers taken from a socket in one turn: what floods one does not keep the others waiting.
const REPLIES_PER_TURN: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    device: String,
    source: Option<IpAddr>,
    is_v4: bool,
    is_arp: bool,
}

enum Socket {
    /// A raw socket. As one of UDP it does all that is needed of it: ports are 0.
    Icmp(UdpSocket),
    Arp(OwnedFd, LinkAddr, [u8; 6], Ipv4Addr),
}

/// The sockets there are; opened when a probe needs one, and anew when one fails.
pub struct ProbeSockets {
    cookie: Cookie,
    open: BTreeMap<Way, Socket>,
}

impl ProbeSockets {
    /// None yet. `cookie`: a number that no other process has.
    #[must_use]
    pub const fn new(cookie: Cookie) -> Self {
        let open = BTreeMap::new();
        Self { cookie, open }
    }

    /// Closes all: another configuration may need others.
    pub fn close(&mut self) {
        self.open.clear();
    }

    /// What is to be watched for answers.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.open.values().map(|socket| match socket {
            Socket::Icmp(socket) => socket.as_fd(),
            Socket::Arp(socket, ..) => socket.as_fd(),
        })
    }

    /// Sends a probe by a device, in the calling thread's network namespace. Needs CAP_NET_RAW.
    ///
    /// # Errors
    /// The system's: the device is down or has no such address, above all. The next probe opens its socket anew.
    pub fn send(&mut self, device: &str, probe: &Probe) -> io::Result<()> {
        let target = probe.to.address;
        let way = Way {
            device: device.to_owned(),
            source: probe.to.source,
            is_v4: target.is_ipv4(),
            is_arp: target.is_ipv4() && probe.method == TrackMethod::Neighbour,
        };
        if !self.open.contains_key(&way) {
            self.open.insert(way.clone(), Socket::open(&way)?);
        }
        let Some(socket) = self.open.get(&way) else {
            return Ok(());
        };
        let sent = socket.send(self.cookie, device, probe);
        if sent.is_err() {
            self.open.remove(&way);
        }
        sent
    }

    /// The answers that have come, each with the device it came by.
    pub fn replies(&self) -> Vec<(String, IpAddr, Reply)> {
        let mut all = Vec::new();
        let mut octets = [0; MESSAGE_MAX];
        for (way, socket) in &self.open {
            for _ in 0..REPLIES_PER_TURN {
                // Nothing more, or an error that the next probe meets as well.
                let Ok((length, from)) = socket.receive(&mut octets) else {
                    break;
                };
                let message = octets.get(..length).unwrap_or_default();
                let reply = match socket {
                    Socket::Arp(..) => arp_reply(message),
                    Socket::Icmp(_) if way.is_v4 => payload4(message).and_then(|icmp| self.cookie.icmp(icmp)),
                    Socket::Icmp(_) => self.cookie.icmp6(message),
                };
                match (reply, from) {
                    (Some(Reply::Neighbour(of)), _) => {
                        all.push((way.device.clone(), of, Reply::Neighbour(of)));
                    }
                    (Some(echo), Some(from)) => all.push((way.device.clone(), from, echo)),
                    (Some(Reply::Echo { .. }), None) | (None, _) => {}
                }
            }
        }
        all
    }
}

/// Number and hardware address of a device, in the form that packet sockets want.
fn link(device: &str) -> io::Result<(LinkAddr, [u8; 6])> {
    let mut all = getifaddrs()?;
    let found = all.find_map(|entry| {
        let address = entry.address.filter(|_| entry.interface_name == device)?;
        address.as_link_addr().copied()
    });
    let found = found.and_then(|link| Some((link, link.addr()?)));
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no Ethernet device {device}")))
}

impl Socket {
    fn open(way: &Way) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        if way.is_arp {
            let Some(IpAddr::V4(source)) = way.source else {
                return Err(io::ErrorKind::AddrNotAvailable.into());
            };
            let (device, mac) = link(&way.device)?;
            let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
            let raw = rustix::net::SocketType::RAW;
            let arp = Some(rustix::net::eth::ARP);
            let socket = rustix::net::socket_with(rustix::net::AddressFamily::PACKET, raw, flags, arp)?;
            bind(socket.as_raw_fd(), &device)?;
            return Ok(Self::Arp(socket, device, mac, source));
        }
        let (family, protocol) = if way.is_v4 {
            (AddressFamily::Inet, SockProtocol::Icmp)
        } else {
            (AddressFamily::Inet6, SockProtocol::IcmpV6)
        };
        let socket = socket(family, SockType::Raw, flags, protocol)?;
        setsockopt(&socket, BindToDevice, &OsString::from(&way.device))?;
        match way.source {
            Some(IpAddr::V4(source)) => bind(
                socket.as_raw_fd(),
                &SockaddrIn::from(SocketAddrV4::new(source, 0)),
            )?,
            Some(IpAddr::V6(source)) => bind(
                socket.as_raw_fd(),
                &SockaddrIn6::from(SocketAddrV6::new(source, 0, 0, 0)),
            )?,
            // The kernel takes the link-local address of the device for what is link-local.
            None => {}
        }
        if !way.is_v4 {
            setsockopt(&socket, Ipv6MulticastHops, &HOPS)?;
        }
        Ok(Self::Icmp(UdpSocket::from(socket)))
    }

    fn send(&self, cookie: Cookie, device: &str, probe: &Probe) -> io::Result<()> {
        let target = probe.to.address;
        match (self, target, probe.method) {
            (Self::Arp(socket, device, mac, source), IpAddr::V4(target), _) => {
                let frame = arp_request(*mac, *source, target);
                sendto(socket.as_raw_fd(), &frame, device, MsgFlags::empty())?;
            }
            (Self::Icmp(socket), IpAddr::V6(target), TrackMethod::Neighbour) => {
                let (_, mac) = link(device)?;
                let (message, group) = solicitation(mac, target);
                socket.send_to(&message, SocketAddr::new(group.into(), 0))?;
            }
            (Self::Icmp(socket), ..) => {
                let message = cookie.echo(target, probe.id, probe.sequence);
                socket.send_to(&message, SocketAddr::new(target, 0))?;
            }
            // Such a socket is opened for IPv4 alone.
            (Self::Arp(..), IpAddr::V6(_), _) => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(())
    }

    fn receive(&self, octets: &mut [u8]) -> io::Result<(usize, Option<IpAddr>)> {
        match self {
            Self::Icmp(socket) => {
                let (length, from) = socket.recv_from(octets)?;
                Ok((length, Some(from.ip())))
            }
            Self::Arp(socket, ..) => Ok((recv(socket.as_raw_fd(), octets, MsgFlags::empty())?, None)),
        }
    }
}
