//! What rtnetlink messages say, decoded: links, addresses, routes, next-hop objects, neighbours.
//!
//! A message that makes no sense decodes to nothing. What the mirror does not follow is left out here, each for a
//! reason at its place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::codec::{Attributes, Message, NLM_F_APPEND, NLM_F_REPLACE, read_u8, read_u16, read_u32};
use super::links::LinkRecord;
use super::neighbours::{NeighbourRecord, NudState};
use super::routes::{Change, Hop, NextHopObject, Prefix, RouteRecord, RouteTableId, Special, Target};

pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
pub(super) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_DELADDR: u16 = 21;
pub(super) const RTM_NEWROUTE: u16 = 24;
pub(super) const RTM_DELROUTE: u16 = 25;
pub(super) const RTM_GETROUTE: u16 = 26;
pub(super) const RTM_NEWNEIGH: u16 = 28;
pub(super) const RTM_DELNEIGH: u16 = 29;
pub(super) const RTM_GETNEIGH: u16 = 30;
pub(super) const RTM_NEWNEXTHOP: u16 = 104;
pub(super) const RTM_DELNEXTHOP: u16 = 105;
pub(super) const RTM_GETNEXTHOP: u16 = 106;

pub(super) const AF_UNSPEC: u8 = 0;
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_BRIDGE: u8 = 7;
pub(super) const AF_INET6: u8 = 10;

pub(super) const IFF_UP: u32 = 0x1;
const IFF_LOWER_UP: u32 = 0x1_0000;
pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;

pub(super) const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
pub(super) const RTA_OIF: u16 = 4;
pub(super) const RTA_GATEWAY: u16 = 5;
pub(super) const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
pub(super) const RTA_TABLE: u16 = 15;
pub(super) const RTA_VIA: u16 = 18;
const RTA_ENCAP: u16 = 22;
const RTA_NH_ID: u16 = 30;
/// A cache entry of the kernel, no route.
pub(super) const RTM_F_CLONED: u32 = 0x200;

const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_ENCAP: u16 = 8;
const NHA_FDB: u16 = 11;

pub(super) const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
pub(super) const NTF_USE: u8 = 0x01;
const NTF_PROXY: u8 = 0x08;

/// One decoded message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Link(LinkRecord),
    LinkGone(u32),
    /// An address went; the kernel may have flushed routes in silence (those with it as preferred source).
    AddressGone,
    Route(RouteRecord, Change),
    RouteGone(RouteRecord),
    NextHop(u32, NextHopObject),
    NextHopGone(u32),
    Neighbour(NeighbourRecord),
    NeighbourGone {
        ifindex: u32,
        address: IpAddr,
    },
}

/// Decodes a message; `None` for what is not followed or not understood.
pub(super) fn decode(message: &Message<'_>) -> Option<Event> {
    let payload = message.payload;
    match message.kind {
        RTM_NEWLINK => decode_link(payload).map(Event::Link),
        RTM_DELLINK if read_u8(payload, 0)? != AF_BRIDGE => Some(Event::LinkGone(read_u32(payload, 4)?)),
        RTM_DELADDR => Some(Event::AddressGone),
        RTM_NEWROUTE => {
            let change = match message.flags {
                flags if flags & NLM_F_REPLACE != 0 => Change::Replace,
                flags if flags & NLM_F_APPEND != 0 => Change::Append,
                _ => Change::Create,
            };
            Some(Event::Route(decode_route(payload)?, change))
        }
        RTM_DELROUTE => decode_route(payload).map(Event::RouteGone),
        RTM_NEWNEXTHOP => decode_nexthop(payload).map(|(id, object)| Event::NextHop(id, object)),
        RTM_DELNEXTHOP => decode_nexthop_id(payload).map(Event::NextHopGone),
        RTM_NEWNEIGH => decode_neighbour(payload).map(Event::Neighbour),
        RTM_DELNEIGH => {
            let gone = decode_neighbour(payload)?;
            Some(Event::NeighbourGone {
                ifindex: gone.ifindex,
                address: gone.address,
            })
        }
        _ => None,
    }
}

/// `struct ifinfomsg`: family, pad, type u16, index, flags, change.
fn decode_link(payload: &[u8]) -> Option<LinkRecord> {
    // Bridge ports are told a second time, as members of the bridge.
    if read_u8(payload, 0)? == AF_BRIDGE {
        return None;
    }
    let flags = read_u32(payload, 8)?;
    let mut link = LinkRecord {
        ifindex: read_u32(payload, 4)?,
        name: String::new(),
        up: flags & IFF_UP != 0,
        carrier: flags & IFF_LOWER_UP != 0,
        mtu: 0,
        mac: None,
    };
    for (kind, value) in Attributes(payload.get(16..)?) {
        match kind {
            IFLA_IFNAME => {
                let name = value.split(|b| *b == 0).next()?;
                link.name = String::from_utf8_lossy(name).into_owned();
            }
            IFLA_MTU => link.mtu = read_u32(value, 0)?,
            IFLA_ADDRESS => link.mac = value.try_into().ok(),
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

/// `struct rtmsg`: family, dst_len, src_len, tos, table, protocol, scope, type, flags u32.
fn decode_route(payload: &[u8]) -> Option<RouteRecord> {
    let family = read_u8(payload, 0)?;
    let length = read_u8(payload, 1)?;
    // Routes for one type of service or one source prefix only: the dataplane's FIB has no such key.
    if read_u8(payload, 2)? != 0 || read_u8(payload, 3)? != 0 || read_u32(payload, 8)? & RTM_F_CLONED != 0 {
        return None;
    }
    let mut table = u32::from(read_u8(payload, 4)?);
    let kind = read_u8(payload, 7)?;
    let (mut destination, mut metric, mut object, mut encapsulated) = (&[][..], 0, None, false);
    let mut single = Hop {
        ifindex: 0,
        gateway: None,
        weight: 1,
    };
    let mut multipath = None;
    for (attribute, value) in Attributes(payload.get(12..)?) {
        match attribute {
            RTA_DST => destination = value,
            RTA_SRC => return None,
            RTA_OIF => single.ifindex = read_u32(value, 0)?,
            RTA_GATEWAY => single.gateway = Some(ip_address(value)?),
            RTA_VIA => single.gateway = Some(ip_address(value.get(2..)?)?),
            RTA_PRIORITY => metric = read_u32(value, 0)?,
            RTA_TABLE => table = read_u32(value, 0)?,
            RTA_NH_ID => object = Some(read_u32(value, 0)?),
            RTA_ENCAP => encapsulated = true,
            RTA_MULTIPATH => multipath = Some(decode_multipath(value, &mut encapsulated)?),
            _ => {}
        }
    }
    let table = match table {
        255 => RouteTableId::Local,
        254 => RouteTableId::Main,
        253 => RouteTableId::Default,
        _ => return None,
    };
    let target = match kind {
        // Unicast.
        1 if encapsulated => Target::Special(Special::Punt),
        1 => match (object, multipath) {
            (Some(id), _) => Target::Object(id),
            (None, Some(hops)) if !hops.is_empty() => Target::Hops(hops),
            (None, _) => Target::Hops(vec![single]),
        },
        // Local, broadcast, anycast.
        2..=4 => Target::Special(Special::Local {
            ifindex: single.ifindex,
        }),
        // Multicast: replication is the kernel's.
        5 => Target::Special(Special::Punt),
        6 => Target::Special(Special::Blackhole),
        // Unreachable; throw: leaves the table, and no further one follows.
        7 | 9 => Target::Special(Special::Unreachable),
        8 => Target::Special(Special::Prohibited),
        _ => return None,
    };
    Some(RouteRecord {
        prefix: prefix(family, destination, length)?,
        table,
        metric,
        target,
    })
}

/// `struct rtnexthop`: len u16, flags u8, hops u8 (weight less one), ifindex i32; then attributes.
fn decode_multipath(mut bytes: &[u8], encapsulated: &mut bool) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    while bytes.len() >= 8 {
        let length = usize::from(read_u16(bytes, 0)?);
        let one = bytes.get(..length)?;
        let mut hop = Hop {
            ifindex: read_u32(one, 4)?,
            gateway: None,
            weight: u16::from(read_u8(one, 3)?) + 1,
        };
        for (attribute, value) in Attributes(one.get(8..)?) {
            match attribute {
                RTA_GATEWAY => hop.gateway = Some(ip_address(value)?),
                RTA_VIA => hop.gateway = Some(ip_address(value.get(2..)?)?),
                RTA_ENCAP => *encapsulated = true,
                _ => {}
            }
        }
        hops.push(hop);
        bytes = bytes.get(super::codec::align4(length)..).unwrap_or(&[]);
    }
    // IPv6 siblings come in an order that differs from message to message.
    hops.sort_unstable();
    Some(hops)
}

fn decode_nexthop_id(payload: &[u8]) -> Option<u32> {
    let id = Attributes(payload.get(8..)?).find(|(kind, _)| *kind == NHA_ID)?.1;
    read_u32(id, 0)
}

/// `struct nhmsg`: family, scope, protocol, pad, flags u32. Group members: id u32, weight - 1 u8, high octet of it.
fn decode_nexthop(payload: &[u8]) -> Option<(u32, NextHopObject)> {
    let id = decode_nexthop_id(payload)?;
    let mut hop = Hop {
        ifindex: 0,
        gateway: None,
        weight: 1,
    };
    let mut object = None;
    for (attribute, value) in Attributes(payload.get(8..)?) {
        match attribute {
            NHA_OIF => hop.ifindex = read_u32(value, 0)?,
            NHA_GATEWAY => hop.gateway = Some(ip_address(value)?),
            NHA_BLACKHOLE => object = Some(NextHopObject::Blackhole),
            NHA_FDB | NHA_ENCAP => object = Some(NextHopObject::Opaque),
            NHA_GROUP => {
                let members = value.chunks_exact(8).filter_map(|member| {
                    let weight = u16::from(read_u8(member, 4)?) | u16::from(read_u8(member, 5)?) << 8;
                    Some((read_u32(member, 0)?, weight.saturating_add(1)))
                });
                object = Some(NextHopObject::Group(members.collect()));
            }
            _ => {}
        }
    }
    Some((id, object.unwrap_or(NextHopObject::Hop(hop))))
}

/// `struct ndmsg`: family, pad (3), ifindex, state u16, flags u8, type u8.
fn decode_neighbour(payload: &[u8]) -> Option<NeighbourRecord> {
    let family = read_u8(payload, 0)?;
    // Entries we answer for (proxies) are no neighbours; AF_BRIDGE carries forwarding databases.
    if (family != AF_INET && family != AF_INET6) || read_u8(payload, 10)? & NTF_PROXY != 0 {
        return None;
    }
    let state = NudState::from_bits(read_u16(payload, 8)?);
    let (mut address, mut mac) = (None, None);
    for (kind, value) in Attributes(payload.get(12..)?) {
        match kind {
            NDA_DST => address = ip_address(value),
            NDA_LLADDR => mac = value.try_into().ok(),
            _ => {}
        }
    }
    let address = address.filter(|address| !address.is_multicast())?;
    Some(NeighbourRecord {
        ifindex: read_u32(payload, 4)?,
        address,
        state,
        mac,
    })
}

/// An address of 4 or 16 octets.
pub(super) fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

/// A prefix, its bits beyond the length cleared. No destination attribute means the default route.
fn prefix(family: u8, destination: &[u8], length: u8) -> Option<Prefix> {
    let address = if destination.is_empty() {
        None
    } else {
        Some(ip_address(destination)?)
    };
    match (family, address) {
        (AF_INET, None | Some(IpAddr::V4(_))) if length <= 32 => {
            let bits = address.map_or(0, |a| if let IpAddr::V4(v4) = a { v4.to_bits() } else { 0 });
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            Some(Prefix::V4(bits & mask, length))
        }
        (AF_INET6, None | Some(IpAddr::V6(_))) if length <= 128 => {
            let bits = address.map_or(0, |a| if let IpAddr::V6(v6) = a { v6.to_bits() } else { 0 });
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            Some(Prefix::V6(bits & mask, length))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::{Messages, Request};
    use super::*;
    use proptest::prelude::*;

    fn event(request: Request) -> Option<Event> {
        let bytes = request.finish(1);
        Messages(&bytes).next().and_then(|message| decode(&message))
    }

    #[test]
    fn a_multipath_route_with_weights_and_an_ipv6_gateway() {
        let mut multipath = vec![16, 0, 0, 2, 7, 0, 0, 0, 8, 0, 5, 0, 10, 0, 0, 1];
        multipath.extend([32, 0, 0, 0, 8, 0, 0, 0, 22, 0, 18, 0, 10, 0]);
        multipath.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
        let request = Request::new(
            RTM_NEWROUTE,
            NLM_F_APPEND,
            &[AF_INET, 9, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0],
        )
        .attribute(RTA_DST, &[10, 255, 0, 0])
        .attribute(RTA_PRIORITY, &7u32.to_ne_bytes())
        .attribute(RTA_MULTIPATH, &multipath);
        let Some(Event::Route(route, Change::Append)) = event(request) else {
            panic!("no route")
        };
        assert_eq!(
            (route.prefix, route.metric),
            (Prefix::V4(0x0a80_0000, 9), 7),
            "bits beyond the length cleared"
        );
        let first = Hop {
            ifindex: 7,
            gateway: Some([10, 0, 0, 1].into()),
            weight: 3,
        };
        let second = Hop {
            ifindex: 8,
            gateway: "fe80::1".parse().ok(),
            weight: 1,
        };
        assert_eq!(route.target, Target::Hops(vec![first, second]));
    }

    #[test]
    fn default_routes_and_foreign_tables() {
        let fixed = |table| [AF_INET6, 0, 0, 0, table, 3, 0, 6, 0, 0, 0, 0];
        let Some(Event::Route(route, _)) = event(Request::new(RTM_NEWROUTE, 0, &fixed(254))) else {
            panic!()
        };
        assert_eq!(
            (route.prefix, route.target),
            (Prefix::V6(0, 0), Target::Special(Special::Blackhole))
        );
        assert_eq!(event(Request::new(RTM_NEWROUTE, 0, &fixed(100))), None);
    }

    #[test]
    fn group_weights_have_sixteen_bits() {
        let request = Request::new(RTM_NEWNEXTHOP, 0, &[0; 8])
            .attribute(NHA_ID, &5u32.to_ne_bytes())
            .attribute(NHA_GROUP, &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0xff, 0x01, 0, 0]);
        assert_eq!(
            event(request),
            Some(Event::NextHop(5, NextHopObject::Group(vec![(1, 1), (2, 512)])))
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn garbage_never_panics(
            kind in proptest::sample::select(vec![16u16, 17, 20, 21, 24, 25, 28, 29, 104, 105]),
            head in proptest::collection::vec(any::<u8>(), 0..20),
            attributes in proptest::collection::vec((0u16..40, proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
        ) {
            let mut request = Request::new(kind, 0, &head);
            for (number, value) in attributes {
                request = request.attribute(number, &value);
            }
            if let Some(Event::Route(route, _)) = event(request) {
                match route.prefix {
                    Prefix::V4(_, length) => prop_assert!(length <= 32),
                    Prefix::V6(_, length) => prop_assert!(length <= 128),
                }
            }
        }
    }
}
