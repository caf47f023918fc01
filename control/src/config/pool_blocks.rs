//! `[pools.NAME.port-block-allocation]`: ports given out by the block. RFC 6888 REQ-14.

use tandem_engine::program::{AddressPooling, PortRange};

use super::diagnostics::Diagnostics;
use super::fault::FaultKind;
use super::pool::Pool;
use super::section::Section;

/// `[pools.NAME.port-block-allocation]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortBlocks {
    /// Ports per block: a power of two, 64..=4096.
    pub block_size: u16,
    /// Blocks one subscriber may hold. 1..=64.
    pub max_blocks_per_subscriber: u16,
    /// Age at which the active block is replaced, in seconds; 0 never.
    pub active_block_timeout_s: u32,
    /// How long an idle subscriber keeps its last block, in seconds; 0 not at all.
    pub last_block_recycle_timeout_s: u32,
    /// How often a held block is logged again, in seconds; 0 never.
    pub interim_logging_interval_s: u32,
}

/// Reads the table.
pub(super) fn decode(mut section: Section<'_>) -> PortBlocks {
    let block_size = section.integer("block-size", 64..=4096, 128);
    if !block_size.is_power_of_two() {
        let (below, above) = (block_size.next_power_of_two() / 2, block_size.next_power_of_two());
        section.diagnostics().fault(
            FaultKind::BadValue,
            &section.path_of("block-size"),
            format!("{block_size} is not a power of two"),
            format!("use {below} or {above}"),
        );
    }
    let blocks = PortBlocks {
        block_size: block_size as u16,
        max_blocks_per_subscriber: section.integer("max-blocks-per-subscriber", 1..=64, 8) as u16,
        active_block_timeout_s: section.integer("active-block-timeout-s", 0..=86_400, 0),
        last_block_recycle_timeout_s: section.integer("last-block-recycle-timeout-s", 0..=86_400, 0),
        interim_logging_interval_s: section.integer("interim-logging-interval-s", 0..=86_400, 0),
    };
    section.finish();
    blocks
}

/// Whole blocks of `size` ports, aligned to their size, that lie within `ports`.
fn whole_blocks(ports: PortRange, size: u16) -> u32 {
    let size = u32::from(size.max(1));
    let (first, end) = (
        u32::from(ports.first).div_ceil(size),
        (u32::from(ports.last) + 1) / size,
    );
    end.saturating_sub(first)
}

/// Checks blocks against the ports they are cut from.
pub(super) fn check(blocks: PortBlocks, ports: PortRange, pool: &Pool, path: &str, d: &Diagnostics) {
    let count = whole_blocks(ports, blocks.block_size);
    let range = format!(
        "{path}.port-range {}-{} (line {})",
        ports.first,
        ports.last,
        d.line(&format!("{path}.port-range"))
    );
    let path = format!("{path}.port-block-allocation");
    if count == 0 {
        let problem = format!("no whole block of {} ports lies in {range}", blocks.block_size);
        d.fault(
            FaultKind::Conflict,
            &format!("{path}.block-size"),
            problem,
            "use smaller blocks or a wider port-range",
        );
    } else if pool.address_pooling == AddressPooling::Paired
        && u32::from(blocks.max_blocks_per_subscriber) > count
    {
        let problem = format!("one address has {count} blocks in {range}, and address-pooling is paired");
        d.warn(
            &format!("{path}.max-blocks-per-subscriber"),
            problem,
            format!("use at most {count}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::DEFAULT_PORTS;
    use super::*;

    #[test]
    fn blocks_are_counted_aligned() {
        assert_eq!(whole_blocks(DEFAULT_PORTS, 1024), 63);
        assert_eq!(
            whole_blocks(
                PortRange {
                    first: 1000,
                    last: 2047
                },
                1024
            ),
            1
        );
        assert_eq!(
            whole_blocks(
                PortRange {
                    first: 1025,
                    last: 2047
                },
                1024
            ),
            0
        );
        assert_eq!(
            whole_blocks(
                PortRange {
                    first: 1,
                    last: 65_535
                },
                4096
            ),
            15
        );
    }
}
