//! Rules, and how they become DPDK's: an array of fields, each with a value and a mask, prefix length or upper end.
//!
//! DPDK defines the struct of a rule by a macro, one for each number of fields. The same is made here from the generated
//! parts, and compared with what the headers say at compile time.

use std::num::NonZeroU32;

use dpdk_sys as sys;

use super::key::{Key4, Key6, Offsets, V4, V6};
use super::{AclError, PRIORITY_MAX};

/// What a key is compared with, and what comes out when it matches. `P` is [`Ipv4Prefix`] or [`Ipv6Prefix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclRule<P> {
    /// Source addresses.
    pub source: P,
    /// Destination addresses.
    pub destination: P,
    /// Source ports, first and last.
    pub source_ports: (u16, u16),
    /// Destination ports, first and last.
    pub destination_ports: (u16, u16),
    /// Protocol number; `None` is any.
    pub protocol: Option<u8>,
    /// 1 to [`PRIORITY_MAX`]; of several rules that match the highest wins. Of equal ones, any.
    pub priority: u32,
    /// What comes out.
    pub userdata: NonZeroU32,
}

/// Addresses that begin alike. Bits beyond the length do not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv4Prefix {
    /// An address of them, in host order.
    pub address: u32,
    /// Bits that are compared, 0 to 32.
    pub length: u8,
}

/// Addresses that begin alike. Bits beyond the length do not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv6Prefix {
    /// An address of them, in host order.
    pub address: u128,
    /// Bits that are compared, 0 to 128.
    pub length: u8,
}

/// In which order the tries look at a key, after the protocol. Every order gives the same answers; size and speed differ, by ten
/// times for some lists. Best is first what differs from rule to rule and leaves nothing open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldOrder {
    /// Source, destination, ports.
    #[default]
    Source,
    /// Destination, source, ports.
    Destination,
    /// Ports, source, destination.
    PortsSource,
    /// Ports, destination, source.
    PortsDestination,
}

impl FieldOrder {
    /// Each of them.
    pub const ALL: [Self; 4] = [
        Self::Source,
        Self::Destination,
        Self::PortsSource,
        Self::PortsDestination,
    ];
}

/// A rule as DPDK has it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct RawRule<const FIELDS: usize> {
    data: sys::rte_acl_rule_data,
    field: [sys::rte_acl_field; FIELDS],
}

/// Protocol, two addresses, two ports.
const FIELDS4: usize = 5;
/// Protocol, two addresses of four words, two ports.
const FIELDS6: usize = 11;

/// Whether a rule of so many fields is laid out as RTE_ACL_RULE_DEF lays it out and RTE_ACL_RULE_SZ measures it.
const fn like_dpdk<const FIELDS: usize>() -> bool {
    let field = std::mem::offset_of!(RawRule<FIELDS>, field);
    std::mem::offset_of!(RawRule<FIELDS>, data) == std::mem::offset_of!(sys::rte_acl_rule, data)
        && field == std::mem::offset_of!(sys::rte_acl_rule, field)
        && size_of::<RawRule<FIELDS>>()
            == size_of::<sys::rte_acl_rule>() + FIELDS * size_of::<sys::rte_acl_field>()
        && align_of::<RawRule<FIELDS>>() == align_of::<sys::rte_acl_rule>()
}

const _: () = assert!(like_dpdk::<FIELDS4>() && like_dpdk::<FIELDS6>());

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::V4 {}
    impl Sealed for super::V6 {}
}

/// [`V4`] or [`V6`]: what keys and rules look like.
pub trait Family: sealed::Sealed + Sized + 'static {
    /// What is classified.
    type Key: Copy + Default;
    /// Addresses in a rule.
    type Prefix: Copy;
    /// A rule as DPDK has it.
    #[doc(hidden)]
    type Raw: Copy;

    #[doc(hidden)]
    fn length_fits(prefix: Self::Prefix) -> bool;
    #[doc(hidden)]
    fn raw(rule: &AclRule<Self::Prefix>) -> Self::Raw;
    #[doc(hidden)]
    fn config(max_bytes: usize, order: FieldOrder) -> sys::rte_acl_config;
}

impl Family for V4 {
    type Key = Key4;
    type Prefix = Ipv4Prefix;
    type Raw = RawRule<FIELDS4>;

    fn length_fits(prefix: Ipv4Prefix) -> bool {
        prefix.length <= 32
    }

    fn raw(rule: &AclRule<Ipv4Prefix>) -> Self::Raw {
        let word = |prefix: Ipv4Prefix| masked(prefix.address, prefix.length);
        RawRule {
            data: data(rule),
            field: [
                protocol(rule.protocol),
                word(rule.source),
                word(rule.destination),
                range(rule.source_ports),
                range(rule.destination_ports),
            ],
        }
    }

    fn config(max_bytes: usize, order: FieldOrder) -> sys::rte_acl_config {
        config(&Key4::OFFSETS, 1, max_bytes, order)
    }
}

impl Family for V6 {
    type Key = Key6;
    type Prefix = Ipv6Prefix;
    type Raw = RawRule<FIELDS6>;

    fn length_fits(prefix: Ipv6Prefix) -> bool {
        prefix.length <= 128
    }

    fn raw(rule: &AclRule<Ipv6Prefix>) -> Self::Raw {
        let word = |prefix: Ipv6Prefix, n: u8| {
            let value = (prefix.address >> (96 - 32 * n)) as u32;
            masked(value, prefix.length.saturating_sub(32 * n).min(32))
        };
        let (s, d) = (rule.source, rule.destination);
        RawRule {
            data: data(rule),
            field: [
                protocol(rule.protocol),
                word(s, 0),
                word(s, 1),
                word(s, 2),
                word(s, 3),
                word(d, 0),
                word(d, 1),
                word(d, 2),
                word(d, 3),
                range(rule.source_ports),
                range(rule.destination_ports),
            ],
        }
    }

    fn config(max_bytes: usize, order: FieldOrder) -> sys::rte_acl_config {
        config(&Key6::OFFSETS, 4, max_bytes, order)
    }
}

impl<P> AclRule<P> {
    /// Everything but the prefixes.
    pub(super) fn check(&self) -> Result<(), AclError> {
        let range = |what| Err(AclError::Range { what });
        if self.source_ports.0 > self.source_ports.1 {
            return range("source ports");
        }
        if self.destination_ports.0 > self.destination_ports.1 {
            return range("destination ports");
        }
        if !(1..=PRIORITY_MAX).contains(&self.priority) {
            return range("priority");
        }
        Ok(())
    }
}

fn data<P>(rule: &AclRule<P>) -> sys::rte_acl_rule_data {
    sys::rte_acl_rule_data {
        category_mask: 1,
        // At most PRIORITY_MAX, checked, which is below 2^29.
        priority: rule.priority as i32,
        userdata: rule.userdata.get(),
    }
}

/// A field; narrower values are the lower bytes of 64 bits on little-endian machines only, so each is written in its width.
fn field(value: sys::rte_acl_field_types, mask_range: sys::rte_acl_field_types) -> sys::rte_acl_field {
    sys::rte_acl_field { value, mask_range }
}

fn zero() -> sys::rte_acl_field_types {
    sys::rte_acl_field_types { u64_: 0 }
}

fn protocol(protocol: Option<u8>) -> sys::rte_acl_field {
    let (mut value, mut mask) = (zero(), zero());
    value.u8_ = protocol.unwrap_or(0);
    mask.u8_ = if protocol.is_some() { 0xff } else { 0 };
    field(value, mask)
}

fn masked(address: u32, length: u8) -> sys::rte_acl_field {
    let (mut value, mut mask) = (zero(), zero());
    let bits = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    value.u32_ = address & bits;
    mask.u32_ = length.into();
    field(value, mask)
}

fn range(ports: (u16, u16)) -> sys::rte_acl_field {
    let (mut first, mut last) = (zero(), zero());
    first.u16_ = ports.0;
    last.u16_ = ports.1;
    field(first, last)
}

/// Describes the fields of a rule with addresses of `words` times 32 bits, in the order they are walked.
fn config(at: &Offsets, words: u32, max_bytes: usize, order: FieldOrder) -> sys::rte_acl_config {
    // SAFETY: a struct of integers.
    let mut config: sys::rte_acl_config = unsafe { std::mem::zeroed() };
    config.num_categories = 1;
    config.num_fields = 3 + 2 * words;
    config.max_size = max_bytes;
    // Position in the rule, type, size, offset in the key.
    let protocol = [(0, sys::RTE_ACL_FIELD_TYPE_BITMASK, 1, 0)];
    let address = |index: u32, offset: u32| {
        (0..words).map(move |n| (index + n, sys::RTE_ACL_FIELD_TYPE_MASK, 4, offset + 4 * n))
    };
    let (source, destination) = (address(1, at.source), address(1 + words, at.destination));
    let ports = [
        (1 + 2 * words, sys::RTE_ACL_FIELD_TYPE_RANGE, 2, at.source_port),
        (
            2 + 2 * words,
            sys::RTE_ACL_FIELD_TYPE_RANGE,
            2,
            at.destination_port,
        ),
    ];
    let all: Vec<_> = match order {
        FieldOrder::Source => (protocol.into_iter().chain(source).chain(destination).chain(ports)).collect(),
        FieldOrder::Destination => {
            (protocol.into_iter().chain(destination).chain(source).chain(ports)).collect()
        }
        FieldOrder::PortsSource => {
            (protocol.into_iter().chain(ports).chain(source).chain(destination)).collect()
        }
        FieldOrder::PortsDestination => {
            (protocol.into_iter().chain(ports).chain(destination).chain(source)).collect()
        }
    };
    for (def, (index, kind, size, offset)) in config.defs.iter_mut().zip(all) {
        def.type_ = kind as u8;
        def.size = size;
        def.field_index = index as u8;
        // The group of four bytes it is read with.
        def.input_index = (offset / 4) as u8;
        def.offset = offset;
    }
    config
}
