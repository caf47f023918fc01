//! Pools with their use, added up over the workers.

use serde::{Deserialize, Serialize};
use tandem_engine::program::{self, NONE};
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
    /// Its name in the config.
    pub name: String,
    /// Service sets with a term that translates to it.
    pub service_sets: Vec<String>,
    /// Public addresses it has.
    pub addresses: u64,
    /// First port it may use.
    pub first_port: u16,
    /// Last port it may use, inclusive.
    pub last_port: u16,
    /// No new allocation; sessions live on until they end.
    pub drain: bool,
    /// It is an interface's own address.
    pub interface_address: bool,
    /// Public TCP ports, over all its addresses.
    pub tcp_ports: Use,
    /// Public UDP ports, over all its addresses.
    pub udp_ports: Use,
    /// Public ICMP ids, over all its addresses.
    pub icmp_ids: Use,
    /// Extents of 4096 ports that workers own.
    pub extents: Use,
    /// Ports per block when port block allocation is configured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub block_size: Option<u16>,
    /// Port blocks in subscribers' hands, and how many fit; the total is 0 without port block allocation.
    pub blocks: Use,
    /// Subscribers paired with an address of it.
    pub subscribers: u64,
    /// Allocations refused because nothing was free.
    pub refused: u64,
}

impl Pool {
    /// Adds up what each worker uses of `pool` (entries of other pools are left out), with the totals its
    /// addresses and ports allow. `service_sets` are those of the running program.
    #[must_use]
    pub fn from_use(pool: &program::Pool, service_sets: &[program::ServiceSet], workers: &[PoolUse]) -> Self {
        let addresses: u64 = pool
            .addresses
            .iter()
            .map(|r| u64::from(r.last.saturating_sub(r.first)) + 1)
            .sum();
        let (first, last) = (u64::from(pool.ports.first), u64::from(pool.ports.last));
        let ports = addresses * (last + 1).saturating_sub(first);
        let block_size = pool.port_blocks.map(|b| b.block_size);
        // Blocks lie aligned to their size (a power of two), so only whole aligned ones inside the range count.
        let blocks_per_address = block_size.map_or(0, |size| {
            let size = u64::from(size.max(1));
            ((last + 1) / size).saturating_sub(first.div_ceil(size))
        });
        let mine = || workers.iter().filter(|u| u.pool == pool.id);
        let sum = |field: fn(&PoolUse) -> u64| mine().map(field).sum::<u64>();
        let of = |used, total| Use { used, total };
        Self {
            name: pool.name.clone(),
            service_sets: service_sets
                .iter()
                .filter(|s| uses(s, pool))
                .map(|s| s.name.clone())
                .collect(),
            addresses,
            first_port: pool.ports.first,
            last_port: pool.ports.last,
            drain: pool.drain,
            interface_address: pool.interface_address,
            tcp_ports: of(sum(|u| u.tcp_ports), ports),
            udp_ports: of(sum(|u| u.udp_ports), ports),
            icmp_ids: of(sum(|u| u.icmp_ids), ports),
            extents: of(sum(|u| u.extents), addresses * EXTENTS_PER_ADDRESS as u64),
            block_size,
            blocks: of(sum(|u| u.blocks), addresses * blocks_per_address),
            subscribers: sum(|u| u.subscribers),
            refused: sum(|u| u.refused),
        }
    }
}

fn uses(set: &program::ServiceSet, pool: &program::Pool) -> bool {
    pool.id != NONE && set.terms.iter().any(|term| term.action.pool() == Some(pool.id))
}

#[cfg(test)]
mod tests {
    use tandem_engine::program::{
        AddressAllocation, AddressPooling, AddressRange, PortAllocation, PortBlocks, PortRange,
    };
    use tandem_engine::ticks::Ticks;

    use super::*;

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
            &[],
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
            &[],
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
            &[],
            &[],
        );
        assert_eq!(shown.blocks.total, 0);
        assert_eq!(Use::default().ratio(), 0.0);
    }
}
