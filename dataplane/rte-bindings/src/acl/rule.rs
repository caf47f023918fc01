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
    fn config(max_bytes: usize) -> sys::rte_acl_config;
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

    fn config(max_bytes: usize) -> sys::rte_acl_config {
        config(&Key4::OFFSETS, 1, FIELDS4, max_bytes)
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

    fn config(max_bytes: usize) -> sys::rte_acl_config {
        config(&Key6::OFFSETS, 4, FIELDS6, max_bytes)
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

/// Describes the fields of a rule with addresses of `words` times 32 bits.
fn config(at: &Offsets, words: u32, fields: usize, max_bytes: usize) -> sys::rte_acl_config {
    // SAFETY: a struct of integers.
    let mut config: sys::rte_acl_config = unsafe { std::mem::zeroed() };
    config.num_categories = 1;
    config.num_fields = fields as u32;
    config.max_size = max_bytes;
    let addresses = |offset: u32| (0..words).map(move |n| (sys::RTE_ACL_FIELD_TYPE_MASK, 4, offset + 4 * n));
    let all = std::iter::once((sys::RTE_ACL_FIELD_TYPE_BITMASK, 1, 0))
        .chain(addresses(at.source))
        .chain(addresses(at.destination))
        .chain(
            [at.source_port, at.destination_port].map(|offset| (sys::RTE_ACL_FIELD_TYPE_RANGE, 2, offset)),
        );
    for (n, (def, (kind, size, offset))) in config.defs.iter_mut().zip(all).enumerate() {
        def.type_ = kind as u8;
        def.size = size;
        def.field_index = n as u8;
        // The group of four bytes it is read with.
        def.input_index = (offset / 4) as u8;
        def.offset = offset;
    }
    config
}
