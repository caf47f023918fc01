//! The engine's one module with `unsafe`: memory for the big tables, and prefetch.
//!
//! A [`HugeSlice`] is taken whole at start from 2 MiB pages when the kernel has them reserved, else from ordinary pages
//! with transparent huge pages asked for. It is zeroed and touched at start (unless lazily mapped), never grows, and is
//! given back on drop. Every table of the engine is one of these, so a table of millions of sessions costs its cold cache
//! lines and no TLB walks.
#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::FromZeros;

/// Size of the huge pages asked for.
const HUGE_PAGE: usize = 2 << 20;
/// Size of ordinary pages.
const SMALL_PAGE: usize = 4096;
/// Private memory without a file, counted against nothing until it is touched.
const RESERVE: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

static HUGE_BYTES: AtomicU64 = AtomicU64::new(0);
static SMALL_BYTES: AtomicU64 = AtomicU64::new(0);

/// Which pages a table lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Huge pages when reserved, ordinary ones otherwise; all touched at start.
    Preallocated,
    /// Ordinary pages, touched when first used: for sparse tables whose size follows the address space.
    Lazy,
}

/// No memory for a table.
#[derive(Debug, thiserror::Error)]
#[error("cannot take {bytes} bytes for {what}: {source}")]
pub struct OutOfMemory {
    /// Bytes asked for.
    pub bytes: usize,
    /// The table.
    pub what: &'static str,
    /// What the kernel said.
    pub source: std::io::Error,
}

/// A fixed, zero-initialised slice on its own pages: whole huge pages first, then ordinary ones for what is left over, so
/// that no table pays for a huge page it does not fill.
#[derive(Debug)]
pub struct HugeSlice<T> {
    start: NonNull<T>,
    len: usize,
    /// Bytes on huge pages, from the start.
    on_huge: usize,
    /// Bytes on ordinary pages, behind them.
    on_small: usize,
}

// SAFETY: the slice owns its mapping alone, like a `Box<[T]>`; sending or sharing it is as sound as sending or sharing T.
unsafe impl<T: Send> Send for HugeSlice<T> {}
// SAFETY: as above; `&HugeSlice<T>` only gives `&[T]`.
unsafe impl<T: Sync> Sync for HugeSlice<T> {}

impl<T: FromZeros> HugeSlice<T> {
    /// Takes room for `len` values, all zero.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the kernel refuses.
    pub fn new(len: usize, what: &'static str, pages: Pages) -> Result<Self, OutOfMemory> {
        const {
            assert!(
                align_of::<T>() <= SMALL_PAGE,
                "page alignment is all a mapping promises"
            );
            assert!(size_of::<T>() > 0, "records have a size");
        }
        let bytes = len.saturating_mul(size_of::<T>()).max(1);
        let on_huge = if pages == Pages::Preallocated {
            bytes / HUGE_PAGE * HUGE_PAGE
        } else {
            0
        };
        let taken = take(on_huge, bytes - on_huge, pages).or_else(|first| {
            if on_huge > 0 {
                take(0, bytes, pages)
            } else {
                Err(first)
            }
        });
        let (start, on_huge, on_small) = taken.map_err(|source| OutOfMemory { bytes, what, source })?;
        HUGE_BYTES.fetch_add(on_huge as u64, Ordering::Relaxed);
        SMALL_BYTES.fetch_add(on_small as u64, Ordering::Relaxed);
        Ok(Self {
            start: start.cast(),
            len,
            on_huge,
            on_small,
        })
    }

    /// Whether it lives on reserved huge pages, but for the last part of one.
    #[must_use]
    pub fn is_huge(&self) -> bool {
        self.on_huge > 0
    }
}

/// Maps `huge` bytes (whole huge pages) and `small` bytes behind them; returns the start and what was mapped of each.
fn take(huge: usize, small: usize, pages: Pages) -> std::io::Result<(NonNull<u8>, usize, usize)> {
    let failed = std::io::Error::last_os_error;
    let small = small.next_multiple_of(SMALL_PAGE);
    let reserved = huge
        .checked_add(small + HUGE_PAGE)
        .ok_or_else(|| std::io::Error::from_raw_os_error(libc::ENOMEM))?;
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory that exists.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), reserved, libc::PROT_NONE, RESERVE, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(failed());
    }
    let skip = (base as usize).next_multiple_of(HUGE_PAGE) - base as usize;
    let start = base.cast::<u8>().wrapping_add(skip);
    let tail = start.wrapping_add(huge);
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: both fixed mappings lie inside base..base+reserved, which is ours and holds nothing, and `start` is aligned
    // to a huge page. What of the reservation they do not cover is given back; on failure, what is
    // surely still ours.
    unsafe {
        let fixed = RESERVE | libc::MAP_FIXED;
        let huge_pages = fixed & !libc::MAP_NORESERVE | libc::MAP_HUGETLB | libc::MAP_POPULATE;
        if huge > 0 && libc::mmap(start.cast(), huge, access, huge_pages, -1, 0) == libc::MAP_FAILED {
            let error = failed();
            // The kernel may have taken the reservation away from under the mapping that failed, and another thread may
            // have been given the hole since: only what lies around it is surely still ours. If it was not taken away,
            // addresses are lost, but no memory.
            if skip > 0 {
                libc::munmap(base, skip);
            }
            libc::munmap(tail.cast(), reserved - skip - huge);
            return Err(error);
        }
        if small > 0 && libc::mmap(tail.cast(), small, access, fixed, -1, 0) == libc::MAP_FAILED {
            let error = failed();
            // The same care for the part that failed, before and behind it.
            libc::munmap(base, skip + huge);
            libc::munmap(tail.wrapping_add(small).cast(), reserved - skip - huge - small);
            return Err(error);
        }
        if skip > 0 {
            libc::munmap(base, skip);
        }
        libc::munmap(tail.wrapping_add(small).cast(), reserved - skip - huge - small);
        if pages == Pages::Preallocated && small > 0 {
            // Both are wishes: where they are refused, pages come on first touch.
            libc::madvise(tail.cast(), small, libc::MADV_HUGEPAGE);
            libc::madvise(tail.cast(), small, libc::MADV_POPULATE_WRITE);
        }
    }
    NonNull::new(start)
        .map(|start| (start, huge, small))
        .ok_or_else(failed)
}

impl<T> Deref for HugeSlice<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: start points at a live mapping of at least len values, which were all-zero at first, valid for T by
        // `FromZeros` (demanded by the only constructor), and is aligned to a page.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for HugeSlice<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`; `&mut self` makes the access unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for HugeSlice<T> {
    fn drop(&mut self) {
        const { assert!(!std::mem::needs_drop::<T>(), "tables hold plain data") };
        HUGE_BYTES.fetch_sub(self.on_huge as u64, Ordering::Relaxed);
        SMALL_BYTES.fetch_sub(self.on_small as u64, Ordering::Relaxed);
        let start = self.start.as_ptr().cast::<u8>();
        // SAFETY: both mappings were made by `new` with these starts and lengths and are unmapped once, here.
        unsafe {
            if self.on_huge > 0 {
                libc::munmap(start.cast(), self.on_huge);
            }
            if self.on_small > 0 {
                libc::munmap(start.wrapping_add(self.on_huge).cast(), self.on_small);
            }
        }
    }
}

/// Bytes mapped for tables in this process: on huge pages, on ordinary pages.
#[must_use]
pub fn mapped_bytes() -> (u64, u64) {
    (
        HUGE_BYTES.load(Ordering::Relaxed),
        SMALL_BYTES.load(Ordering::Relaxed),
    )
}

/// Asks for the cache line of `value`, to be read or written soon.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint: it never faults and changes nothing but caches.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
}

/// Asks for the cache lines of `value` to be written soon: without it, lines that another core has read are taken from it only
/// when they are written. Processors that do not know the instruction (before 2015) pass over it.
#[inline(always)]
pub fn prefetch_to_write<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..size_of::<T>()).step_by(64) {
        // SAFETY: the instruction is a hint: it never faults, and changes nothing but caches; so the address may be any.
        unsafe {
            let line = std::ptr::from_ref(value).cast::<u8>().wrapping_add(offset);
            std::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
        }
    }
}

/// Asks for the cache line of `slice[index]`; does nothing when there is no such element.
#[inline(always)]
pub fn prefetch_index<T>(slice: &[T], index: usize) {
    if let Some(value) = slice.get(index) {
        prefetch(value);
    }
}

/// Bit i of the result: entry i has the tag `tag` under `tag_mask` and is not empty (some bit outside `tag_mask` is set).
/// Entries and tag are compared sixteen at once where the target has AVX2.
#[inline(always)]
#[must_use]
pub fn match_entries(entries: &[u32; 16], tag: u32, tag_mask: u32) -> u32 {
    #[cfg(target_feature = "avx2")]
    // SAFETY: both loads read 32 bytes inside the 64 bytes of `entries`, unaligned loads need no alignment, and the target
    // has AVX2 by the condition above.
    unsafe {
        use std::arch::x86_64::{
            _mm256_and_si256, _mm256_andnot_si256, _mm256_castsi256_ps, _mm256_cmpeq_epi32,
            _mm256_loadu_si256, _mm256_movemask_ps, _mm256_set1_epi32, _mm256_setzero_si256,
        };
        let (want, mask) = (_mm256_set1_epi32(tag as i32), _mm256_set1_epi32(tag_mask as i32));
        let half = |at: *const u32| {
            let e = _mm256_loadu_si256(at.cast());
            let same = _mm256_cmpeq_epi32(_mm256_and_si256(e, mask), want);
            let empty = _mm256_cmpeq_epi32(_mm256_andnot_si256(mask, e), _mm256_setzero_si256());
            _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_andnot_si256(empty, same))) as u32
        };
        half(entries.as_ptr()) | half(entries.as_ptr().add(8)) << 8
    }
    #[cfg(not(target_feature = "avx2"))]
    entries.iter().enumerate().fold(0, |found, (i, e)| {
        found | u32::from((e & tag_mask == tag) & (e & !tag_mask != 0)) << i
    })
}

/// Bit i of the result: entry i is `value`. Compared sixteen at once where the target has AVX2: how far a loop would have to go
/// no branch predictor knows.
#[inline(always)]
#[must_use]
pub fn equal_entries(entries: &[u32; 16], value: u32) -> u32 {
    #[cfg(target_feature = "avx2")]
    // SAFETY: as in `match_entries`.
    unsafe {
        use std::arch::x86_64::{
            _mm256_castsi256_ps, _mm256_cmpeq_epi32, _mm256_loadu_si256, _mm256_movemask_ps,
            _mm256_set1_epi32,
        };
        let want = _mm256_set1_epi32(value as i32);
        let half = |at: *const u32| {
            let same = _mm256_cmpeq_epi32(_mm256_loadu_si256(at.cast()), want);
            _mm256_movemask_ps(_mm256_castsi256_ps(same)) as u32
        };
        half(entries.as_ptr()) | half(entries.as_ptr().add(8)) << 8
    }
    #[cfg(not(target_feature = "avx2"))]
    entries
        .iter()
        .enumerate()
        .fold(0, |found, (i, e)| found | u32::from(*e == value) << i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_zero_and_writable() {
        for pages in [Pages::Preallocated, Pages::Lazy] {
            for len in [1, 511, 1 << 18, (1 << 20) + 77] {
                let mut slice = HugeSlice::<u64>::new(len, "test", pages).unwrap();
                assert_eq!(slice.len(), len);
                assert!(slice.iter().all(|v| *v == 0));
                slice.fill(7);
                assert!(slice.iter().all(|v| *v == 7));
                assert_eq!(slice.as_ptr() as usize % 4096, 0);
            }
        }
    }

    /// Without reserved huge pages each table of whole ones is tried on them and then taken elsewhere: what one thread
    /// gives back must never be what another has just been given.
    #[test]
    fn tables_of_several_threads_stay_apart() {
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                scope.spawn(move || {
                    for round in 0..300 {
                        let mut slice = HugeSlice::<u64>::new(1 << 18, "test", Pages::Preallocated).unwrap();
                        let mark = thread << 32 | round;
                        slice.iter_mut().step_by(512).for_each(|v| *v = mark);
                        assert!(slice.iter().step_by(512).all(|v| *v == mark));
                    }
                });
            }
        });
    }

    #[test]
    fn too_much_memory_is_an_error() {
        assert!(HugeSlice::<u64>::new(1 << 50, "test", Pages::Lazy).is_err());
    }

    #[test]
    fn entries_match_by_tag_and_never_when_empty() {
        let mut entries = [0u32; 16];
        (entries[0], entries[3], entries[9], entries[15]) =
            (0x0050_0001, 0x0050_0000, 0x0050_ffff, 0x0060_0001);
        assert_eq!(match_entries(&entries, 0x0050_0000, 0xffff_0000), 1 | 1 << 9);
        assert_eq!(match_entries(&entries, 0, 0xffff_0000), 0);
        assert_eq!(match_entries(&entries, 0x0060_0000, 0xffff_0000), 1 << 15);
    }

    #[test]
    fn entries_are_equal_as_a_whole() {
        let mut entries = [7u32; 16];
        (entries[0], entries[7], entries[8], entries[15]) = (0, 0x0700_0000, 0, 1 << 31);
        assert_eq!(equal_entries(&entries, 0), 1 | 1 << 8);
        assert_eq!(equal_entries(&entries, 7), 0x7e7e);
        assert_eq!(equal_entries(&entries, 1 << 31), 1 << 15);
        assert_eq!(equal_entries(&entries, 8), 0);
    }

    #[test]
    fn prefetch_outside_is_harmless() {
        prefetch_index(&[1u8, 2], 9);
        let value = [7u64; 20];
        prefetch_to_write(&value);
        assert_eq!(value, [7; 20]);
    }
}
