//! The IPv4 forwarding table.

use std::ptr::NonNull;
use std::sync::Arc;

use dpdk_sys as sys;

use super::{FibConfig, FibError, changed, check_route};
use crate::eal::Eal;

/// An IPv4 forwarding table, and its only writer. See the [module](super) for what readers see of changes.
pub struct Fib4 {
    core: Arc<Core>,
}

/// Looks up in a [`Fib4`], from any thread, during changes too. Clones are references to the same table,
/// which lives as long as the last of them.
#[derive(Clone)]
pub struct Fib4Reader {
    core: Arc<Core>,
}

struct Core {
    raw: NonNull<sys::rte_fib>,
    _eal: Eal,
}

// SAFETY: changed through the one `Fib4` only, borrowed mutably. Lookups read the table with plain aligned
// loads while the writer makes plain aligned stores, which is how DPDK means it to be used; both happen in C
// code behind a call, out of the Rust compiler's sight. Whatever they read is bounded: indices of groups are
// never unmapped, since a table's memory stays as it is until it is freed.
unsafe impl Send for Core {}
// SAFETY: as above.
unsafe impl Sync for Core {}

impl Drop for Core {
    fn drop(&mut self) {
        // SAFETY: made by rte_fib_create; neither writer nor reader is left.
        unsafe { sys::rte_fib_free(self.raw.as_ptr()) };
    }
}

impl Fib4 {
    /// Takes the memory for a table with no routes.
    ///
    /// # Errors
    /// [`FibError::Range`], [`FibError::Create`].
    pub fn create(eal: &Eal, config: &FibConfig) -> Result<Self, FibError> {
        let checked = config.check()?;
        // SAFETY: a struct of integers.
        let mut raw: sys::rte_fib_conf = unsafe { std::mem::zeroed() };
        raw.type_ = sys::RTE_FIB_DIR24_8;
        raw.default_nh = config.default_next_hop.into();
        raw.max_routes = checked.max_routes;
        // The generated union has this one member; writing it is safe.
        raw.__bindgen_anon_1.dir24_8.nh_sz = sys::RTE_FIB_DIR24_8_4B;
        raw.__bindgen_anon_1.dir24_8.num_tbl8 = config.num_tbl8;
        // SAFETY: EAL is initialised (`eal`); name and configuration are copied.
        let fib = unsafe { sys::rte_fib_create(checked.name.as_ptr(), checked.socket, &mut raw) };
        let raw = NonNull::new(fib).ok_or_else(|| config.refused())?;
        Ok(Self {
            core: Arc::new(Core {
                raw,
                _eal: eal.clone(),
            }),
        })
    }

    /// Adds a route, or changes its next hop. Bits of `prefix` beyond `length` (0 to 32) do not matter.
    /// `next_hop` is 1 to [`super::NEXT_HOP_MAX`].
    ///
    /// # Errors
    /// [`FibError::Full`], [`FibError::NextHop`], [`FibError::PrefixLength`]; the table is then as it was.
    pub fn add(&mut self, prefix: u32, length: u8, next_hop: u32) -> Result<(), FibError> {
        check_route(length, 32, Some(next_hop))?;
        // SAFETY: the table is alive and borrowed mutably, so this is the only writer.
        changed(unsafe { sys::rte_fib_add(self.core.raw.as_ptr(), prefix, length, next_hop.into()) })
    }

    /// Deletes a route; its addresses go to the next shorter match.
    ///
    /// # Errors
    /// [`FibError::NotFound`], [`FibError::PrefixLength`]; [`FibError::Full`] when restoring a shorter match
    /// needs a group and there is none left.
    pub fn delete(&mut self, prefix: u32, length: u8) -> Result<(), FibError> {
        check_route(length, 32, None)?;
        // SAFETY: as in add.
        changed(unsafe { sys::rte_fib_delete(self.core.raw.as_ptr(), prefix, length) })
    }

    /// A reader of this table.
    pub fn reader(&self) -> Fib4Reader {
        Fib4Reader {
            core: self.core.clone(),
        }
    }
}

impl Fib4Reader {
    /// Looks up each of `addresses`, in host order, and writes its next hop to the same place in `next_hops`.
    /// Works on as many as the shorter slice has and returns how many; a burst at once hides the memory's
    /// latency.
    #[inline]
    pub fn lookup_bulk(&self, addresses: &[u32], next_hops: &mut [u64]) -> usize {
        let n = addresses.len().min(next_hops.len()).min(i32::MAX as usize);
        if n != 0 {
            let from = addresses.as_ptr().cast_mut();
            // SAFETY: the table is alive; both slices have n elements. DPDK does not write to the addresses,
            // though its declaration lacks the `const`.
            unsafe {
                sys::rte_fib_lookup_bulk(
                    self.core.raw.as_ptr(),
                    from.cast(),
                    next_hops.as_mut_ptr(),
                    n as i32,
                )
            };
        }
        n
    }

    /// The next hop of one address, in host order,. Prefer [`Fib4Reader::lookup_bulk`].
    #[inline]
    pub fn lookup(&self, address: u32) -> u32 {
        let mut next_hop = [0];
        self.lookup_bulk(&[address], &mut next_hop);
        // At most NEXT_HOP_MAX: entries have 31 bits for it.
        next_hop[0] as u32
    }
}
