//! What the sessions of a bench are, and which packets they have: arithmetic, so that the generator stays out of memory.

use std::fmt;

use serde::Serialize;
use tandem_wire::checksum::{Sum, checksum, pseudo_v4, pseudo_v6};
use tandem_wire::rfc6052::Prefix64;

/// Inside interface and port.
pub const INSIDE: u8 = 0;
/// Outside interface and port.
pub const OUTSIDE: u8 = 1;
/// Sessions of a subscriber.
pub const SESSIONS_PER_SUBSCRIBER: u32 = 64;
/// First IPv4 subscriber: 100.64.0.0.
pub const FIRST_SUBSCRIBER: u32 = 0x6440_0000;
/// First IPv6 subscriber, a /64: `2001:db8::`. What follows of a subscriber's number lies in its bits 32 to 63.
pub const FIRST_SUBSCRIBER6: u128 = 0x2001_0db8 << 96;
/// First outside host: 8.0.0.0, and 24 bits of numbers.
pub const FIRST_HOST: u32 = 0x0800_0000;
/// First outside host over IPv6: `2a00::`, the 24 bits right before the interface identifier.
pub const FIRST_HOST6: u128 = 0x2a00 << 112;
/// MAC addresses of the two ports.
pub const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
/// Octets before the IP header.
pub const ETHERNET: usize = 14;
/// The longest frame, without the frame check sequence, which is the port's.
pub const FRAME_MAX: usize = 84 - FCS;
const FCS: usize = 4;
/// Octets of the frames written: of 64 and of 84 with the frame check sequence.
const SHORT: usize = 64 - FCS;
const LONG: usize = FRAME_MAX;

/// What the sessions are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// IPv4 to IPv4, addresses and ports translated.
    #[default]
    Napt44,
    /// IPv6 to IPv4 by the well-known prefix.
    Nat64,
    /// IPv4 through a stateful firewall, not translated.
    Firewall,
    /// IPv6 through a stateful firewall, not translated.
    Firewall6,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Napt44 => "napt44",
            Self::Nat64 => "nat64",
            Self::Firewall => "firewall",
            Self::Firewall6 => "firewall6",
        })
    }
}

impl Kind {
    /// Whether its sessions take public ports.
    pub const fn translates(self) -> bool {
        matches!(self, Self::Napt44 | Self::Nat64)
    }

    /// Whether packets from a side are IPv6 as they arrive.
    pub const fn is_v6(self, direction: u8) -> bool {
        match self {
            Self::Napt44 | Self::Firewall => false,
            Self::Nat64 => direction == INSIDE,
            Self::Firewall6 => true,
        }
    }

    /// Frames in which all kinds of a run fit, with the frame check sequence: 64 octets, or 84 where some are IPv6.
    pub fn frame_octets(kinds: &[Self]) -> usize {
        if kinds.iter().any(|k| k.is_v6(INSIDE)) {
            84
        } else {
            64
        }
    }
}

/// One session's public end.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Public address; 0 until the session is made. Of a session that is not translated its inside address.
    pub public: u32,
    /// Public port.
    pub public_port: u16,
}

/// Flows of which nothing is known yet. They are not zero, so that their memory is touched before any is measured.
pub fn no_flows(sessions: u32) -> Vec<Flow> {
    let unknown = Flow {
        public: 0,
        public_port: 1,
    };
    vec![unknown; sessions as usize]
}

/// Ends of session `i`: subscriber's number, its port, outside host's number, its port.
const fn ends(i: u32) -> (u32, u16, u32, u16) {
    let subscriber = i / SESSIONS_PER_SUBSCRIBER;
    let sport = 1024 + (i % SESSIONS_PER_SUBSCRIBER) as u16 * 97;
    (
        subscriber,
        sport,
        i.wrapping_mul(0x9E37_79B1) >> 8,
        2000 + (i % 1000) as u16,
    )
}

/// An outside host as an IPv6 subscriber of this kind sends to it.
pub const fn host6(kind: Kind, number: u32) -> u128 {
    match kind {
        Kind::Nat64 => Prefix64::WELL_KNOWN.embed(FIRST_HOST | number),
        _ => FIRST_HOST6 | (number as u128) << 64 | 0x25,
    }
}

/// Writes packets as a port would.
#[derive(Clone, Copy, Debug)]
pub struct Frames {
    kind: Kind,
    octets: usize,
}

impl Frames {
    /// UDP frames of `octets` octets, the frame check sequence counted.
    pub fn new(kind: Kind, octets: usize) -> Self {
        Self {
            kind,
            octets: octets.min(FRAME_MAX + FCS) - FCS,
        }
    }

    /// Packets of sessions `numbers` as they arrive at a side, one after the other into `put`. The length is known when this is
    /// compiled: a writer with loops and calls leaves the core in a state that the measured work then pays for.
    #[inline(always)]
    pub fn write(&self, direction: u8, numbers: &[u32], flows: &[Flow], mut put: impl FnMut(&[u8])) {
        if self.octets == SHORT {
            self.write_of::<SHORT>(direction, numbers, flows, &mut put);
        } else {
            self.write_of::<LONG>(direction, numbers, flows, &mut put);
        }
    }

    #[inline(always)]
    fn write_of<const N: usize>(
        &self,
        direction: u8,
        numbers: &[u32],
        flows: &[Flow],
        put: &mut impl FnMut(&[u8]),
    ) {
        if self.kind.is_v6(direction) {
            for i in numbers {
                put(&self.frame6::<N>(direction, *i));
            }
        } else {
            for i in numbers {
                put(&frame4::<N>(direction, *i, flows[*i as usize]));
            }
        }
    }

    #[inline(always)]
    fn frame6<const N: usize>(&self, direction: u8, i: u32) -> [u8; N] {
        let (subscriber, sport, host, host_port) = ends(i);
        let mut frame = blank::<N>(direction);
        let inside = FIRST_SUBSCRIBER6 | u128::from(subscriber) << 64 | 0x17;
        let outside = host6(self.kind, host);
        if direction == INSIDE {
            v6(&mut frame, inside, outside, (sport, host_port));
        } else {
            v6(&mut frame, outside, inside, (host_port, sport));
        }
        frame
    }

    /// The public end in an IPv4 packet that left; `None` for another family's, which has none to learn.
    pub fn learn(&self, l3: &[u8]) -> Option<Flow> {
        let (head, _) = l3.split_first_chunk::<24>()?;
        (head[0] >> 4 == 4).then(|| Flow {
            public: u32::from_be_bytes([head[12], head[13], head[14], head[15]]),
            public_port: u16::from_be_bytes([head[20], head[21]]),
        })
    }
}

#[inline(always)]
fn blank<const N: usize>(direction: u8) -> [u8; N] {
    let mut frame = [0; N];
    frame[..6].copy_from_slice(&MACS[usize::from(direction)]);
    frame
}

#[inline(always)]
fn frame4<const N: usize>(direction: u8, i: u32, flow: Flow) -> [u8; N] {
    let (subscriber, sport, host, host_port) = ends(i);
    let mut frame = blank::<N>(direction);
    if direction == INSIDE {
        let ports = (sport, host_port);
        v4(
            &mut frame,
            FIRST_SUBSCRIBER + subscriber,
            FIRST_HOST | host,
            ports,
        );
    } else {
        let ports = (host_port, flow.public_port);
        v4(&mut frame, FIRST_HOST | host, flow.public, ports);
    }
    frame
}

#[inline(always)]
fn v4(frame: &mut [u8], src: u32, dst: u32, ports: (u16, u16)) {
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    let (header, udp) = frame[ETHERNET..].split_at_mut(20);
    let length = udp.len() as u16;
    header[0] = 0x45;
    header[2..4].copy_from_slice(&(length + 20).to_be_bytes());
    header[8..10].copy_from_slice(&[64, 17]);
    header[12..16].copy_from_slice(&src.to_be_bytes());
    header[16..20].copy_from_slice(&dst.to_be_bytes());
    let sum = checksum(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    datagram(udp, ports, pseudo_v4(src, dst, 17, length));
}

#[inline(always)]
fn v6(frame: &mut [u8], src: u128, dst: u128, ports: (u16, u16)) {
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    let (header, udp) = frame[ETHERNET..].split_at_mut(40);
    let length = udp.len() as u16;
    header[0] = 0x60;
    header[4..6].copy_from_slice(&length.to_be_bytes());
    header[6..8].copy_from_slice(&[17, 64]);
    header[8..24].copy_from_slice(&src.to_be_bytes());
    header[24..40].copy_from_slice(&dst.to_be_bytes());
    datagram(udp, ports, pseudo_v6(src, dst, 17, u32::from(length)));
}

#[inline(always)]
fn datagram(udp: &mut [u8], ports: (u16, u16), pseudo: Sum) {
    udp[..2].copy_from_slice(&ports.0.to_be_bytes());
    udp[2..4].copy_from_slice(&ports.1.to_be_bytes());
    let length = udp.len() as u16;
    udp[4..6].copy_from_slice(&length.to_be_bytes());
    let sum = pseudo.slice(udp).finish_udp();
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
}
