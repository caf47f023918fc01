//! Pools with their use, added up over the workers.

use serde::{Deserialize, Serialize};
use tandem_engine::program::{self, PoolMode, Program, StaticMapping};
use tandem_engine::public_space::EXTENTS_PER_ADDRESS;
use tandem_engine::view::PoolUse;
use utoipa::ToSchema;

/// How much of something there is, and how much of it is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Use {
    /// In use.
    pub used: u64,
    /// There is.
    pub total: u64,
}

impl Use {
    /// Used share, 0.0..=1.0; 0 when there is nothing.
    #[must_use]
    pub fn ratio(self) -> f64 {
        if self.total == 0 {
            0.0
        } else {
            self.used as f64 / self.total as f64
        }
    }
}

/// One source pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Pool {
    /// Its name in the config; `static:SET` (or `static-interface:SET`) has the addresses of static mappings that lie in no
    /// pool of the config.
    pub name: String,
    /// What is taken from it: `ports`, `overloaded-ports` (sessions to different ends share them), `deterministic` (ports by
    /// a formula), `addresses` (whole ones), `static` (its addresses belong to static mappings).
    #[schema(example = "ports")]
    pub mode: String,
    /// Service sets with a term that translates to it, or, of `static`, with a static mapping on its addresses.
    pub service_sets: Vec<String>,
    /// Public addresses it has.
    pub addresses: u64,
    /// Addresses that workers hold as a whole, those that rest after use among them; `addresses` only.
    pub addresses_used: u64,
    /// First port it may use.
    pub first_port: u16,
    /// Last port it may use, inclusive.
    pub last_port: u16,
    /// No new allocation; sessions live on until they end.
    pub drain: bool,
    /// It is an interface's own address.
    pub interface_address: bool,
    /// Public TCP ports, over all its addresses. Of a pool whose ports are not given out (`addresses`, `static`) all are 0; of
    /// `overloaded-ports` a port counts once for each session that shares it, so more may be used than there are.
    pub tcp_ports: Use,
    /// Public UDP ports, over all its addresses.
    pub udp_ports: Use,
    /// Public ICMP ids, over all its addresses.
    pub icmp_ids: Use,
    /// Extents of 4096 ports that workers own; 0 of 0 where none are taken (`deterministic`, `addresses`, `static`).
    pub extents: Use,
    /// Ports per block when port block allocation is configured; of `deterministic` the ports of each subscriber.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub block_size: Option<u16>,
    /// Port blocks in subscribers' hands, and how many fit; the total is 0 without port block allocation. Of `deterministic`
    /// the subscribers the formula has ports for, and how many would fit.
    pub blocks: Use,
    /// Subscribers paired with an address of it.
    pub subscribers: u64,
    /// Allocations refused because nothing was free.
    pub refused: u64,
}

impl Pool {
    /// Adds up what each worker uses of `pool` (entries of other pools are left out), with the totals its
    /// addresses and ports allow. `program` is the running one, of which `pool` is one.
    #[must_use]
    pub fn from_use(pool: &program::Pool, program: &Program, workers: &[PoolUse]) -> Self {
        let addresses: u64 = pool
            .addresses
            .iter()
            .map(|r| u64::from(r.last.saturating_sub(r.first)) + 1)
            .sum();
        let (first, last) = (u64::from(pool.ports.first), u64::from(pool.ports.last));
        let block_size = pool.port_blocks.map(|b| b.block_size);
        // Blocks lie aligned to their size (a power of two), so only whole aligned ones inside the range count.
        let blocks_per_address = block_size.map_or(0, |size| {
            let size = u64::from(size.max(1));
            ((last + 1) / size).saturating_sub(first.div_ceil(size))
        });
        let mine = || workers.iter().filter(|u| u.pool == pool.id);
        let sum = |field: fn(&PoolUse) -> u64| mine().map(field).sum::<u64>();
        let of = |used, total| Use { used, total };
        let per_address = EXTENTS_PER_ADDRESS as u64;
        let gives_ports = !matches!(pool.mode, PoolMode::Addresses | PoolMode::Static);
        let takes_extents = matches!(pool.mode, PoolMode::Ports | PoolMode::OverloadedPorts);
        let ports = if gives_ports {
            addresses * (last + 1).saturating_sub(first)
        } else {
            0
        };
        let ports_of = |field| {
            if gives_ports {
                of(sum(field), ports)
            } else {
                Use::default()
            }
        };
        let (block_size, blocks) = match &pool.mode {
            PoolMode::Deterministic(formula) => {
                let fit = formula.capacity(&pool.addresses, pool.ports);
                (Some(formula.ports_each), of(formula.subscriber_count(), fit))
            }
            _ => (block_size, of(sum(|u| u.blocks), addresses * blocks_per_address)),
        };
        Self {
            name: pool.name.clone(),
            mode: mode_name(&pool.mode).to_owned(),
            service_sets: program
                .service_sets
                .iter()
                .filter(|s| uses(s, pool, program))
                .map(|s| s.name.clone())
                .collect(),
            addresses,
            addresses_used: match pool.mode {
                PoolMode::Addresses => sum(|u| u.extents) / per_address,
                _ => 0,
            },
            first_port: pool.ports.first,
            last_port: pool.ports.last,
            drain: pool.drain,
            interface_address: pool.interface_address,
            tcp_ports: ports_of(|u| u.tcp_ports),
            udp_ports: ports_of(|u| u.udp_ports),
            icmp_ids: ports_of(|u| u.icmp_ids),
            extents: if takes_extents {
                of(sum(|u| u.extents), addresses * per_address)
            } else {
                Use::default()
            },
            block_size,
            blocks,
            subscribers: sum(|u| u.subscribers),
            refused: sum(|u| u.refused),
        }
    }
}

const fn mode_name(mode: &PoolMode) -> &'static str {
    match mode {
        PoolMode::Ports => "ports",
        PoolMode::OverloadedPorts => "overloaded-ports",
        PoolMode::Deterministic(_) => "deterministic",
        PoolMode::Addresses => "addresses",
        PoolMode::Static => "static",
    }
}

fn uses(set: &program::ServiceSet, pool: &program::Pool, program: &Program) -> bool {
    let on_its_addresses = |mapping: &StaticMapping| {
        let (first, last) = (mapping.public.first, mapping.public.last);
        mapping.service_set == set.id && pool.addresses.iter().any(|r| r.first <= last && first <= r.last)
    };
    set.terms.iter().any(|term| term.action.pool() == Some(pool.id))
        || pool.mode == PoolMode::Static && program.statics.iter().any(on_its_addresses)
}

#[cfg(test)]
mod tests {
    use tandem_engine::program::{
        AddressAllocation, AddressPooling, AddressRange, PortAllocation, PortBlocks, PortRange,
    };
    use tandem_engine::ticks::Ticks;

    use super::*;
    use crate::config;

    /// A program without service sets.
    fn nothing() -> Program {
        let text = "[interfaces.a]\ndevice = \"net_ring0\"\n";
        compiled(text)
    }

    fn compiled(text: &str) -> Program {
        let config = config::parse(text, "test").expect("a right configuration");
        let extras = config::Extras::default();
        config::compile(&config, &mut config::NameRegistry::new(), None, &extras).expect("a program")
    }

    fn pool(ports: PortRange, block_size: Option<u16>) -> program::Pool {
        program::Pool {
            id: 3,
            name: "residential".to_owned(),
            addresses: vec![AddressRange {
                first: 0x0a00_0000,
                last: 0x0a00_0003,
            }],
            ports,
            address_allocation: AddressAllocation::RoundRobin,
            address_pooling: AddressPooling::Paired,
            port_allocation: PortAllocation::Random,
            preserve_range: false,
            preserve_parity: false,
            preserve_contiguity: false,
            port_blocks: block_size.map(|block_size| PortBlocks {
                block_size,
                max_blocks_per_subscriber: 4,
                active_block_timeout: Ticks::default(),
                last_block_recycle_timeout: Ticks::default(),
                interim_logging_interval: Ticks::default(),
            }),
            quarantine: Ticks::default(),
            drain: false,
            interface_address: false,
            mode: Default::default(),
        }
    }

    #[test]
    fn use_is_added_over_workers_and_other_pools_are_left_out() {
        let a = PoolUse {
            pool: 3,
            tcp_ports: 5,
            refused: 1,
            ..PoolUse::default()
        };
        let b = PoolUse {
            pool: 3,
            tcp_ports: 7,
            blocks: 2,
            ..PoolUse::default()
        };
        let other = PoolUse {
            pool: 4,
            tcp_ports: 100,
            ..PoolUse::default()
        };
        let shown = Pool::from_use(
            &pool(
                PortRange {
                    first: 1024,
                    last: 65535,
                },
                Some(512),
            ),
            &nothing(),
            &[a, other, b],
        );
        assert_eq!(
            shown.tcp_ports,
            Use {
                used: 12,
                total: 4 * 64512
            }
        );
        assert_eq!(
            shown.blocks,
            Use {
                used: 2,
                total: 4 * 126
            }
        );
        assert_eq!((shown.addresses, shown.refused), (4, 1));
    }

    #[test]
    fn only_whole_aligned_blocks_count() {
        let shown = Pool::from_use(
            &pool(
                PortRange {
                    first: 1000,
                    last: 2047,
                },
                Some(512),
            ),
            &nothing(),
            &[],
        );
        assert_eq!(shown.blocks.total, 4 * 2);
        let shown = Pool::from_use(
            &pool(
                PortRange {
                    first: 1025,
                    last: 1535,
                },
                Some(512),
            ),
            &nothing(),
            &[],
        );
        assert_eq!(shown.blocks.total, 0);
        assert_eq!(Use::default().ratio(), 0.0);
    }

    #[test]
    fn each_mode_shows_what_is_taken_from_it() {
        let program = compiled(include_str!("../../../../configs/deterministic.toml"));
        let used = |pool: &program::Pool| PoolUse {
            pool: pool.id,
            tcp_ports: 9,
            extents: 32,
            ..PoolUse::default()
        };
        let pool = &program.pools[0];
        let shown = Pool::from_use(pool, &program, &[used(pool)]);
        assert_eq!(
            (shown.mode.as_str(), shown.block_size),
            ("deterministic", Some(1008))
        );
        assert_eq!(
            (shown.blocks, shown.extents),
            (
                Use {
                    used: 4096,
                    total: 4096
                },
                Use::default()
            )
        );
        assert_eq!(shown.tcp_ports.used, 9);
        assert_eq!(shown.service_sets, ["residential"]);
        let program = compiled(include_str!("../../../../configs/translations.toml"));
        let by_mode = |mode: &str| {
            let rows = program
                .pools
                .iter()
                .map(|pool| Pool::from_use(pool, &program, &[used(pool)]));
            rows.into_iter()
                .find(|row| row.mode == mode)
                .expect("a pool of this mode")
        };
        let whole = by_mode("addresses");
        assert_eq!((whole.addresses, whole.addresses_used), (16, 2));
        assert_eq!((whole.tcp_ports, whole.extents), (Use::default(), Use::default()));
        let of_statics = by_mode("static");
        assert!(of_statics.name.starts_with("static:"), "{}", of_statics.name);
        assert_eq!(
            (of_statics.tcp_ports.total, of_statics.service_sets.len()),
            (0, 1)
        );
        assert_eq!(by_mode("overloaded-ports").extents, Use { used: 32, total: 64 });
    }
}
