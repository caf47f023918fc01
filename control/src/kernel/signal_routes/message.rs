//! The netlink messages of signal routes: additions, removals, the dump of ours, and a VRF device's table.
//!
//! Unlike the mirror, which follows three tables, this reads routes of any table, but only those of our protocol.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{KernelRoute, KernelTarget, LOOPBACK, PROTOCOL};
use crate::kernel::codec::{Attributes, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, Request, read_u8, read_u32};
use crate::kernel::message::{
    AF_INET, AF_INET6, IFLA_IFNAME, RTA_DST, RTA_GATEWAY, RTA_OIF, RTA_PRIORITY, RTA_TABLE, RTA_VIA,
    RTM_DELROUTE, RTM_F_CLONED, RTM_GETLINK, RTM_GETROUTE, RTM_NEWROUTE, ip_address,
};
use crate::kernel::rtnl::{terminated, with_address};
use crate::kernel::socket::{KernelError, RequestSocket};

const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RTN_BLACKHOLE: u8 = 6;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RT_SCOPE_HOST: u8 = 254;
/// In a removal: of any scope.
const RT_SCOPE_NOWHERE: u8 = 255;

const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VRF_TABLE: u16 = 1;

/// A signal route that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub prefix: IpNet,
    pub table: u32,
    kind: u8,
    metric: u32,
    gateway: Option<IpAddr>,
    ifindex: Option<u32>,
}

/// The metric of an IPv6 route that was given none (IP6_RT_PRIO_USER).
const USUAL_METRIC_V6: u32 = 1024;

impl Found {
    /// Whether it has the prefix, the table and the metric of a route, whatever it does.
    pub(super) fn stands_at(&self, route: &KernelRoute) -> bool {
        let usual = match route.prefix {
            IpNet::V4(_) => 0,
            IpNet::V6(_) => USUAL_METRIC_V6,
        };
        (self.prefix, self.table, self.metric) == (route.prefix, route.table, route.metric.unwrap_or(usual))
    }

    /// Whether that is what it is to do. The kernel finds a device for a next hop that was given without one.
    pub(super) fn does(&self, target: &KernelTarget) -> bool {
        match *target {
            KernelTarget::Discard => self.kind == RTN_BLACKHOLE,
            KernelTarget::Receive { ifindex } => self.kind == RTN_LOCAL && self.ifindex == Some(ifindex),
            KernelTarget::NextHop { gateway, ifindex } => {
                self.kind == RTN_UNICAST
                    && self.gateway == gateway
                    && (ifindex.is_none() || ifindex == self.ifindex)
            }
        }
    }

    /// The removal of exactly this one.
    pub(super) fn removal(&self) -> Request {
        let request = header(RTM_DELROUTE, NLM_F_ACK, &self.prefix, self.kind, RT_SCOPE_NOWHERE);
        let request = to_table(request, &self.prefix, self.table);
        let request = request.attribute(RTA_PRIORITY, &self.metric.to_ne_bytes());
        hop(request, &self.prefix, self.gateway, self.ifindex)
    }
}

/// An addition that is refused (EEXIST) when the table has a route for the prefix with the same metric.
pub(super) fn addition(route: &KernelRoute) -> Request {
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    let scope = match route.target {
        KernelTarget::Receive { .. } => RT_SCOPE_HOST,
        KernelTarget::NextHop { gateway: None, .. } => RT_SCOPE_LINK,
        KernelTarget::NextHop { .. } | KernelTarget::Discard => RT_SCOPE_UNIVERSE,
    };
    whole(RTM_NEWROUTE, flags, scope, route)
}

/// A removal that finds a route of our protocol only. Without a metric it finds one of any.
pub(super) fn removal(route: &KernelRoute) -> Request {
    whole(RTM_DELROUTE, NLM_F_ACK, RT_SCOPE_NOWHERE, route)
}

fn whole(message: u16, flags: u16, scope: u8, route: &KernelRoute) -> Request {
    let (kind, gateway, ifindex) = match route.target {
        KernelTarget::NextHop { gateway, ifindex } => (RTN_UNICAST, gateway, ifindex),
        // IPv6 enters it on the loopback device, and finds it there only.
        KernelTarget::Discard => {
            let is_v6 = matches!(route.prefix, IpNet::V6(_));
            (RTN_BLACKHOLE, None, is_v6.then_some(LOOPBACK))
        }
        KernelTarget::Receive { ifindex } => (RTN_LOCAL, None, Some(ifindex)),
    };
    let request = header(message, flags, &route.prefix, kind, scope);
    let mut request = to_table(request, &route.prefix, route.table);
    if let Some(metric) = route.metric {
        request = request.attribute(RTA_PRIORITY, &metric.to_ne_bytes());
    }
    hop(request, &route.prefix, gateway, ifindex)
}

/// `struct rtmsg`: family, dst_len, src_len, tos, table, protocol, scope, type, flags u32. The table is an attribute: here it
/// has eight bits only.
fn header(message: u16, flags: u16, prefix: &IpNet, kind: u8, scope: u8) -> Request {
    let mut fixed = [0u8; 12];
    fixed[0] = family(matches!(prefix, IpNet::V4(_)));
    fixed[1] = prefix.prefix_len();
    fixed[5] = PROTOCOL;
    fixed[6] = scope;
    fixed[7] = kind;
    Request::new(message, flags, &fixed)
}

fn to_table(request: Request, prefix: &IpNet, table: u32) -> Request {
    let request = request.attribute(RTA_TABLE, &table.to_ne_bytes());
    if prefix.prefix_len() == 0 {
        return request;
    }
    with_address(request, RTA_DST, prefix.network())
}

fn hop(mut request: Request, prefix: &IpNet, gateway: Option<IpAddr>, ifindex: Option<u32>) -> Request {
    request = match (prefix, gateway) {
        (_, None) => request,
        // `struct rtvia`: family u16, address.
        (IpNet::V4(_), Some(IpAddr::V6(v6))) => {
            let mut via = [0u8; 18];
            via[..2].copy_from_slice(&u16::from(AF_INET6).to_ne_bytes());
            via[2..].copy_from_slice(&v6.octets());
            request.attribute(RTA_VIA, &via)
        }
        (_, Some(gateway)) => with_address(request, RTA_GATEWAY, gateway),
    };
    match ifindex {
        Some(ifindex) => request.attribute(RTA_OIF, &ifindex.to_ne_bytes()),
        None => request,
    }
}

fn family(is_v4: bool) -> u8 {
    if is_v4 { AF_INET } else { AF_INET6 }
}

/// The signal routes of a family, of one table or of all.
pub(super) fn dump(
    socket: &mut RequestSocket,
    is_v4: bool,
    table: Option<u32>,
) -> Result<Vec<Found>, KernelError> {
    let mut request = vec![family(is_v4), 0, 0, 0, 0, PROTOCOL, 0, 0, 0, 0, 0, 0];
    if let Some(table) = table {
        // The attribute, as there is no other.
        request.extend([8u16, RTA_TABLE].iter().flat_map(|half| half.to_ne_bytes()));
        request.extend(table.to_ne_bytes());
    }
    let mut all = Vec::new();
    let each = |message: &crate::kernel::codec::Message<'_>| {
        if message.kind == RTM_NEWROUTE {
            all.extend(decode(message.payload));
        }
    };
    match socket.dump(RTM_GETROUTE, &request, each, || Ok(true)) {
        // Nobody has made the table yet.
        Err(error) if error.errno() == Some(nix::libc::ENOENT) => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(_) => Ok(all),
    }
}

/// A route of our protocol. A kernel that does not filter dumps (before 4.20) sends everybody's.
fn decode(payload: &[u8]) -> Option<Found> {
    let is_v4 = match read_u8(payload, 0)? {
        AF_INET => true,
        AF_INET6 => false,
        _ => return None,
    };
    if read_u8(payload, 5)? != PROTOCOL || read_u32(payload, 8)? & RTM_F_CLONED != 0 {
        return None;
    }
    let mut address: IpAddr = if is_v4 {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    };
    let length = read_u8(payload, 1)?;
    let (mut table, kind) = (u32::from(read_u8(payload, 4)?), read_u8(payload, 7)?);
    let (mut metric, mut gateway, mut ifindex) = (0, None, None);
    for (attribute, value) in Attributes(payload.get(12..)?) {
        match attribute {
            RTA_DST => address = ip_address(value)?,
            RTA_OIF => ifindex = Some(read_u32(value, 0)?),
            RTA_GATEWAY => gateway = Some(ip_address(value)?),
            RTA_VIA => gateway = Some(ip_address(value.get(2..)?)?),
            RTA_PRIORITY => metric = read_u32(value, 0)?,
            RTA_TABLE => table = read_u32(value, 0)?,
            _ => {}
        }
    }
    Some(Found {
        prefix: IpNet::new(address, length).ok()?.trunc(),
        table,
        kind,
        metric,
        gateway,
        ifindex,
    })
}

/// A VRF device's number and table; `None` when the device is something else.
pub(super) fn vrf_table(socket: &mut RequestSocket, device: &str) -> Result<Option<(u32, u32)>, KernelError> {
    let mut found = None;
    let request = Request::new(RTM_GETLINK, NLM_F_ACK, &[0; 16]).attribute(IFLA_IFNAME, &terminated(device));
    let result = socket.execute(
        request,
        || format!("show {device}"),
        |message| found = decode_vrf(message.payload),
    );
    match result {
        Err(error) if error.errno() == Some(nix::libc::ENODEV) => {
            Err(KernelError::NoDevice(device.to_owned()))
        }
        Err(error) => Err(error),
        Ok(()) => Ok(found),
    }
}

/// `struct ifinfomsg`, and in it IFLA_LINKINFO { IFLA_INFO_KIND "vrf", IFLA_INFO_DATA { IFLA_VRF_TABLE } }.
fn decode_vrf(payload: &[u8]) -> Option<(u32, u32)> {
    let inside = |bytes, wanted| {
        Attributes(bytes)
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, v)| v)
    };
    let info = inside(payload.get(16..)?, IFLA_LINKINFO)?;
    let kind = inside(info, IFLA_INFO_KIND)?;
    if kind.split(|octet| *octet == 0).next()? != b"vrf" {
        return None;
    }
    let table = inside(inside(info, IFLA_INFO_DATA)?, IFLA_VRF_TABLE)?;
    Some((read_u32(payload, 4)?, read_u32(table, 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::codec::Messages;

    fn nested(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut request = Request::new(0, 0, &[]);
        for (kind, value) in attributes {
            request = request.attribute(*kind, value);
        }
        request.finish(0).split_off(crate::kernel::codec::HEADER_LEN)
    }

    fn link(kind: &[u8]) -> Vec<u8> {
        let data = nested(&[(IFLA_VRF_TABLE, &1001u32.to_ne_bytes())]);
        let info = nested(&[(IFLA_INFO_KIND, kind), (IFLA_INFO_DATA, &data)]);
        let mut payload = vec![0; 16];
        payload[4..8].copy_from_slice(&7u32.to_ne_bytes());
        payload.extend(nested(&[(IFLA_IFNAME, b"blue\0"), (IFLA_LINKINFO, &info)]));
        payload
    }

    #[test]
    fn a_vrf_device_tells_its_table_and_another_device_is_none() {
        assert_eq!(decode_vrf(&link(b"vrf\0")), Some((7, 1001)));
        assert_eq!(decode_vrf(&link(b"vrf")), Some((7, 1001)));
        assert_eq!(decode_vrf(&link(b"vxlan\0")), None);
        assert_eq!(decode_vrf(&[0; 16]), None);
    }

    #[test]
    fn what_is_put_in_is_what_is_found_and_others_routes_are_not_read() {
        let gateway: IpAddr = "2001:db8::1".parse().expect("an address");
        let all = [
            ("198.51.100.0/24", KernelTarget::Discard),
            ("0.0.0.0/0", KernelTarget::Receive { ifindex: LOOPBACK }),
            (
                "192.0.2.0/25",
                KernelTarget::NextHop {
                    gateway: Some(gateway),
                    ifindex: Some(9),
                },
            ),
            (
                "2001:db8:1::/48",
                KernelTarget::NextHop {
                    gateway: Some(gateway),
                    ifindex: None,
                },
            ),
        ];
        for (prefix, target) in all {
            let route = KernelRoute {
                prefix: prefix.parse().expect("a prefix"),
                table: 100_000,
                target,
                metric: Some(0xff_fff9),
            };
            let bytes = addition(&route).finish(1);
            let message = Messages(&bytes).next().expect("one");
            let found = decode(message.payload).expect("it is ours");
            assert_eq!((found.prefix, found.table), (route.prefix, 100_000));
            assert!(found.does(&target), "{found:?}");
            assert!(found.stands_at(&route), "{found:?}");
            let metric = Some(0xff_fff8);
            assert!(!found.stands_at(&KernelRoute { metric, ..route }), "{found:?}");
            assert!(!found.does(&KernelTarget::Receive { ifindex: 2 }));
            let mut foreign = message.payload.to_vec();
            foreign[5] = 4;
            assert_eq!(decode(&foreign), None, "protocol static");
        }
    }

    #[test]
    fn a_removal_names_our_protocol() {
        let route = KernelRoute {
            prefix: "192.0.2.0/24".parse().expect("a prefix"),
            table: 254,
            target: KernelTarget::Discard,
            metric: None,
        };
        let bytes = removal(&route).finish(1);
        let message = Messages(&bytes).next().expect("one");
        assert_eq!((message.kind, message.payload[5]), (RTM_DELROUTE, PROTOCOL));
        let found = decode(message.payload).expect("it is ours");
        let bytes = found.removal().finish(1);
        let message = Messages(&bytes).next().expect("one");
        assert_eq!((message.kind, message.payload[5]), (RTM_DELROUTE, PROTOCOL));
    }
}
