//! What a probe of a tracked IP says, and how its answer is known: echo requests with a number that nobody else has, ARP requests,
//! neighbour solicitations.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tandem_wire::checksum::checksum;
use tandem_wire::ethernet::{self, Mac};
use tandem_wire::{icmp, icmp6};

const ARP_LEN: usize = 28;
const ARP_REQUEST: [u8; 2] = [0, 1];
const ARP_REPLY: [u8; 2] = [0, 2];
/// Ethernet, IPv4, and the lengths of their addresses.
const ARP_HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];
/// Source link-layer address (RFC 4861, 4.6.1), in units of eight octets.
const OPTION_SOURCE_MAC: [u8; 2] = [1, 1];
const ADDRESS6: usize = 16;

/// What makes echo requests of this process its own: an answer brings it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie(pub [u8; 8]);

/// An answer to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To the echo request with these numbers.
    Echo {
        /// That of the probe's address.
        id: u16,
        /// That of the probe.
        sequence: u16,
    },
    /// Whoever has this address says so.
    Neighbour(IpAddr),
}

impl Cookie {
    /// The ICMP or ICMPv6 message of an echo request. The kernel fills in the latter's checksum.
    #[must_use]
    pub fn echo(self, to: IpAddr, id: u16, sequence: u16) -> Vec<u8> {
        let kind = if to.is_ipv4() { icmp::ECHO } else { icmp6::ECHO };
        let mut message = vec![kind, 0, 0, 0, self.0[0], self.0[1]];
        message.extend(sequence.to_be_bytes());
        message.extend(self.0);
        message.extend(id.to_be_bytes());
        if to.is_ipv4() {
            let sum = checksum(&message).to_be_bytes();
            message[2..4].copy_from_slice(&sum);
        }
        message
    }

    /// The answer in an ICMP message, if it is one to a request of this process.
    #[must_use]
    pub fn icmp(self, message: &[u8]) -> Option<Reply> {
        self.echo_reply(message, icmp::ECHO_REPLY)
    }

    /// The same of an ICMPv6 message, and the answer to a neighbour solicitation.
    #[must_use]
    pub fn icmp6(self, message: &[u8]) -> Option<Reply> {
        if message.first() == Some(&icmp6::NEIGHBOUR_ADVERTISEMENT) {
            let target = message.get(icmp6::HEADER_LEN..icmp6::HEADER_LEN + ADDRESS6)?;
            let target: [u8; ADDRESS6] = target.try_into().ok()?;
            return Some(Reply::Neighbour(Ipv6Addr::from(target).into()));
        }
        self.echo_reply(message, icmp6::ECHO_REPLY)
    }

    fn echo_reply(self, message: &[u8], kind: u8) -> Option<Reply> {
        let (head, payload) = message.split_at_checked(icmp::HEADER_LEN)?;
        let (cookie, id) = payload.split_at_checked(self.0.len())?;
        let id: [u8; 2] = id.try_into().ok()?;
        let is_ours = head[..2] == [kind, 0] && cookie == self.0;
        is_ours.then(|| Reply::Echo {
            id: u16::from_be_bytes(id),
            sequence: u16::from_be_bytes([head[6], head[7]]),
        })
    }
}

/// The payload of an IPv4 packet.
#[must_use]
pub fn payload4(packet: &[u8]) -> Option<&[u8]> {
    let header = usize::from(packet.first()? & 0xf) * 4;
    packet.get(header..)
}

/// The frame of an ARP request (RFC 826).
#[must_use]
pub fn arp_request(mac: [u8; 6], source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ethernet::HEADER_LEN + ARP_LEN);
    frame.extend(Mac::BROADCAST.0);
    frame.extend(mac);
    frame.extend(ethernet::ARP.to_be_bytes());
    frame.extend(ARP_HEAD);
    frame.extend(ARP_REQUEST);
    frame.extend(mac);
    frame.extend(source.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// Who answers for itself in a frame, if that is an ARP reply.
#[must_use]
pub fn arp_reply(frame: &[u8]) -> Option<Reply> {
    let arp = frame.get(ethernet::HEADER_LEN..ethernet::HEADER_LEN + ARP_LEN)?;
    let sender: [u8; 4] = arp.get(14..18)?.try_into().ok()?;
    let is_reply = arp.starts_with(&ARP_HEAD) && arp.get(6..8)? == ARP_REPLY;
    is_reply.then(|| Reply::Neighbour(Ipv4Addr::from(sender).into()))
}

/// The message of a neighbour solicitation (RFC 4861, 4.3), whose checksum the kernel fills in, and where it goes.
#[must_use]
pub fn solicitation(mac: [u8; 6], target: Ipv6Addr) -> (Vec<u8>, Ipv6Addr) {
    let mut message = vec![icmp6::NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend(OPTION_SOURCE_MAC);
    message.extend(mac);
    // The solicited-node multicast address. RFC 4291, 2.7.1.
    let low = target.to_bits() & 0xff_ffff;
    let prefix = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).to_bits();
    (message, Ipv6Addr::from_bits(prefix | low))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIE: Cookie = Cookie([1, 2, 3, 4, 5, 6, 7, 8]);
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    #[test]
    fn an_echo_comes_back_with_its_numbers_and_a_foreign_one_does_not() {
        let (v4, v6): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), Ipv6Addr::LOCALHOST.into());
        for (to, reply_kind) in [(v4, icmp::ECHO_REPLY), (v6, icmp6::ECHO_REPLY)] {
            let mut message = COOKIE.echo(to, 7, 0x1234);
            let read = |cookie: Cookie, message: &[u8]| {
                if to.is_ipv4() {
                    cookie.icmp(message)
                } else {
                    cookie.icmp6(message)
                }
            };
            assert_eq!(read(COOKIE, &message), None, "a request");
            message[0] = reply_kind;
            let (id, sequence) = (7, 0x1234);
            assert_eq!(read(COOKIE, &message), Some(Reply::Echo { id, sequence }));
            assert_eq!(read(Cookie([9; 8]), &message), None);
            for length in 0..message.len() {
                assert_eq!(read(COOKIE, &message[..length]), None, "{length} octets");
            }
        }
        let message = COOKIE.echo(v4, 7, 1);
        assert!(
            icmp::Icmp::new_checked(&message)
                .expect("an ICMP message")
                .verify_checksum()
        );
    }

    #[test]
    fn an_arp_reply_is_known_by_its_sender() {
        let mut frame = arp_request(MAC, [192, 0, 2, 2].into(), [192, 0, 2, 1].into());
        assert_eq!(arp_reply(&frame), None, "a request");
        assert_eq!(frame[38..42], [192, 0, 2, 1], "the target");
        frame[21] = 2;
        let sender: IpAddr = [192, 0, 2, 2].into();
        assert_eq!(arp_reply(&frame), Some(Reply::Neighbour(sender)));
        assert_eq!(arp_reply(&frame[..41]), None);
    }

    #[test]
    fn a_solicitation_goes_to_the_group_of_its_target_whose_advertisement_answers() {
        let target: Ipv6Addr = "2001:db8::1:2:3456".parse().expect("an address");
        let (mut message, to) = solicitation(MAC, target);
        assert_eq!(to.to_string(), "ff02::1:ff02:3456");
        assert_eq!(COOKIE.icmp6(&message), None);
        message[0] = icmp6::NEIGHBOUR_ADVERTISEMENT;
        assert_eq!(COOKIE.icmp6(&message), Some(Reply::Neighbour(target.into())));
    }

    #[test]
    fn the_payload_follows_a_header_with_options() {
        let mut packet = vec![0x46; 24];
        packet.extend([1, 2, 3]);
        assert_eq!(payload4(&packet), Some(&[1, 2, 3][..]));
        assert_eq!((payload4(&[]), payload4(&[0x45; 19])), (None, None));
    }
}
