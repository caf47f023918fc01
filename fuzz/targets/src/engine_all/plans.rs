//! The programs: every kind of translation there is, with few addresses and ports, as 64 variants of one theme.
//!
//! Variants differ as reloads may: a pool gives out another kind of thing only when it is another pool with other
//! addresses. Two families of pools serve for that.

use std::sync::Arc;

use tandem_engine::address::of_v4;
use tandem_engine::ports::deterministic::Deterministic;
use tandem_engine::program::*;
use tandem_engine::public_space::PublicSpace;
use tandem_engine::statics::StaticTable;
use tandem_engine::ticks::Ticks;
use tandem_wire::Ipv6Prefix;
use tandem_wire::rfc6052::Prefix64;

use super::net::{ALONE, INSIDE, OUTSIDE, PUBLIC, host4, host6};
use super::sets::{business, edge, stateless, statics, wide};

/// How many programs there are.
pub const COUNT: u8 = 64;

/// Draws from a few bits: the same for the same variant.
pub struct Draw(u64);

impl Draw {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % n
    }
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
    pub fn seconds(&mut self, from: &[u32]) -> Ticks {
        Ticks::from_seconds(self.pick(from))
    }
    pub fn filtering(&mut self) -> FilteringType {
        self.pick(&[
            FilteringType::EndpointIndependent,
            FilteringType::AddressDependent,
            FilteringType::AddressAndPortDependent,
        ])
    }
}

/// A NAT64 prefix of every length; the first is the well-known one.
pub fn prefix(id: PrefixId) -> Prefix64 {
    let (bits, len) = match id {
        0 => return Prefix64::WELL_KNOWN,
        1 => (0x6400_0000u128 << 96, 32),
        2 => (0x6440_0000u128 << 96, 40),
        3 => (0x6448_0000u128 << 96, 48),
        4 => (0x6456_0000u128 << 96, 56),
        5 => (0x6464_0000u128 << 96, 64),
        _ => (0x6496_0000u128 << 96, 96),
    };
    Prefix64::new(Ipv6Prefix::containing(bits, len)).expect("a legal length")
}

/// How many NAT64 prefixes there are.
pub const PREFIXES: u16 = 7;

/// First public address, how many, and mode of each pool.
const POOLS: [(u32, u32, PoolId); 9] = [
    (0, 2, 1),
    (16, 1, 2),
    (32, 1, 3),
    (48, 2, 4),
    (64, 1, 5),
    (80, 1, 6),
    (96, 16, 7),
    (112, 1, 8),
    (128, 1, 9),
];

/// How many public addresses count: the last is [`PUBLIC`] + 128.
pub const PUBLIC_ENDS: [u32; 12] = [0, 1, 16, 17, 32, 48, 49, 64, 80, 96, 100, 112];

fn formula(wide: bool) -> Deterministic {
    let subscribers = if wide {
        vec![(host6(3, 0) & !0xffff_ffff_ffff_ffff, 3)]
    } else {
        vec![(of_v4(host4(1, 3)), 3)]
    };
    Deterministic::new(subscribers, if wide { 64 } else { 128 }, 5).expect("subscribers do not overlap")
}

fn pool(draw: &mut Draw, (first, count, id): (u32, u32, PoolId)) -> Pool {
    let narrow = draw.pick(&[4u16, 20, 63, 130]);
    let mode = match id {
        3 => PoolMode::OverloadedPorts,
        4 => PoolMode::Addresses,
        5 => PoolMode::Deterministic(formula(false)),
        7 => PoolMode::Static,
        9 => PoolMode::Deterministic(formula(true)),
        _ => PoolMode::Ports,
    };
    let by_rule = matches!(id, 4 | 5 | 7 | 9);
    // Pools 1 and 2 give an address to each other, and pool 1 may lose one.
    let (first, count) = match (id, draw.below(4)) {
        (1, 0) => (first, 1),
        (2, 0) => (first, 2),
        _ => (first, count),
    };
    let start = if by_rule {
        1024
    } else {
        draw.pick(&[1000u16, 1024, 4090])
    };
    Pool {
        id,
        name: format!("p{id}"),
        addresses: vec![AddressRange {
            first: PUBLIC + first,
            last: PUBLIC + first + count - 1,
        }],
        ports: PortRange {
            first: start,
            last: if by_rule { 1100 } else { start + narrow },
        },
        address_allocation: draw.pick(&[AddressAllocation::RoundRobin, AddressAllocation::Sequential]),
        address_pooling: draw.pick(&[
            AddressPooling::Paired,
            AddressPooling::PairedSoft,
            AddressPooling::Arbitrary,
        ]),
        port_allocation: draw.pick(&[PortAllocation::Random, PortAllocation::Sequential]),
        preserve_range: draw.one_in(3),
        preserve_parity: draw.one_in(3),
        preserve_contiguity: draw.one_in(3),
        port_blocks: (id == 6 || id == 2 && draw.one_in(4)).then(|| PortBlocks {
            block_size: 64,
            max_blocks_per_subscriber: draw.pick(&[1, 2]),
            active_block_timeout: draw.seconds(&[0, 5, 50]),
            last_block_recycle_timeout: draw.seconds(&[0, 5, 100]),
            interim_logging_interval: draw.seconds(&[0, 30]),
        }),
        quarantine: draw.seconds(&[0, 0, 1, 20]),
        drain: draw.one_in(16),
        interface_address: id == 8,
        mode,
    }
}

/// Variant `number` of the program; its public space shares its owners with that of `previous`.
pub fn build(number: u8, previous: Option<&Program>) -> Arc<Program> {
    let draw = &mut Draw(u64::from(number) << 32);
    let pools: Vec<Pool> = POOLS.iter().map(|p| pool(draw, *p)).collect();
    let mut service_sets = vec![edge(draw), business(draw), stateless(draw), wide(draw)];
    let mut fixed = statics(draw);
    if draw.one_in(12) {
        service_sets.remove(draw.below(4) as usize);
    }
    // A static mapping of a service set that is gone, or has no sessions, would not compile.
    fixed.retain(|m| {
        let of = service_sets.iter().find(|s| s.id == m.service_set);
        of.is_some_and(|s| s.stateless.is_empty())
    });
    let has = |id| service_sets.iter().any(|s| s.id == id);
    let interface = |id, inside_of, outside_of| Interface {
        id,
        name: format!("i{id}"),
        inside_of,
        outside_of,
    };
    let mut interfaces = vec![
        interface(OUTSIDE, NONE, service_sets.iter().map(|s| s.id).collect()),
        interface(ALONE, NONE, Vec::new()),
    ];
    for (set, id) in INSIDE.iter().enumerate() {
        let of = set as u16 + 1;
        interfaces.push(interface(*id, if has(of) { of } else { NONE }, Vec::new()));
    }
    let space = PublicSpace::try_build(&pools, previous.map(|p| &*p.public_space)).expect("one /24");
    Arc::new(Program {
        generation: u32::from(number) + 1,
        service_sets,
        pools,
        interfaces,
        public_space: Arc::new(space),
        statics: Arc::new(StaticTable::new(fixed).expect("no two cover one end")),
        prefixes: (0..PREFIXES)
            .map(|id| Pref64 {
                id,
                prefix: prefix(id),
            })
            .collect(),
        steering_prefix: 56,
        fragment_timeout: Ticks::from_seconds(2),
        verify_ipv4_checksum: false,
        data_link: None,
    })
}

/// A program without service sets and pools, after `previous`.
pub fn nothing(previous: &Program) -> Arc<Program> {
    Arc::new(Program {
        service_sets: Vec::new(),
        pools: Vec::new(),
        interfaces: Vec::new(),
        prefixes: Vec::new(),
        statics: Arc::default(),
        public_space: Arc::new(PublicSpace::build(&[], Some(&previous.public_space))),
        ..previous.clone()
    })
}
