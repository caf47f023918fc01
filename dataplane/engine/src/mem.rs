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

/// A fixed, zero-initialised slice on its own pages.
#[derive(Debug)]
pub struct HugeSlice<T> {
    start: NonNull<T>,
    len: usize,
    mapped: usize,
    huge: bool,
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
        assert!(
            align_of::<T>() <= 4096,
            "page alignment is all a mapping promises"
        );
        let bytes = len.saturating_mul(size_of::<T>()).max(1);
        let mut huge = false;
        let mut start = libc::MAP_FAILED;
        let mut mapped = bytes.next_multiple_of(4096);
        if pages == Pages::Preallocated && bytes >= HUGE_PAGE / 2 {
            let rounded = bytes.next_multiple_of(HUGE_PAGE);
            start = map(rounded, libc::MAP_HUGETLB | libc::MAP_POPULATE);
            if start != libc::MAP_FAILED {
                (huge, mapped) = (true, rounded);
            }
        }
        if start == libc::MAP_FAILED {
            start = map(mapped, libc::MAP_NORESERVE);
            if start == libc::MAP_FAILED {
                return Err(OutOfMemory {
                    bytes,
                    what,
                    source: std::io::Error::last_os_error(),
                });
            }
            if pages == Pages::Preallocated {
                // SAFETY: start..start+mapped is the mapping just made; both calls only advise about it. Populating is
                // an optimisation: when it is refused, pages come on first touch.
                unsafe {
                    libc::madvise(start, mapped, libc::MADV_HUGEPAGE);
                    libc::madvise(start, mapped, libc::MADV_POPULATE_WRITE);
                }
            }
        }
        let Some(start) = NonNull::new(start.cast::<T>()) else {
            return Err(OutOfMemory {
                bytes,
                what,
                source: std::io::Error::last_os_error(),
            });
        };
        if huge { &HUGE_BYTES } else { &SMALL_BYTES }.fetch_add(mapped as u64, Ordering::Relaxed);
        Ok(Self {
            start,
            len,
            mapped,
            huge,
        })
    }

    /// Whether it lives on reserved huge pages.
    #[must_use]
    pub fn is_huge(&self) -> bool {
        self.huge
    }
}

/// An anonymous private read-write mapping, or `MAP_FAILED`.
fn map(bytes: usize, flags: i32) -> *mut libc::c_void {
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory that exists.
    unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags,
            -1,
            0,
        )
    }
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
        if self.huge { &HUGE_BYTES } else { &SMALL_BYTES }.fetch_sub(self.mapped as u64, Ordering::Relaxed);
        // SAFETY: the mapping was made by `new` with this start and length and is unmapped once, here.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.mapped);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_zero_and_writable() {
        for pages in [Pages::Preallocated, Pages::Lazy] {
            let mut slice = HugeSlice::<u64>::new(1 << 20, "test", pages).unwrap();
            assert_eq!(slice.len(), 1 << 20);
            assert!(slice.iter().all(|v| *v == 0));
            slice[(1 << 20) - 1] = 7;
            assert_eq!(slice[(1 << 20) - 1], 7);
            assert_eq!(slice.as_ptr() as usize % 4096, 0);
        }
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
    fn prefetch_outside_is_harmless() {
        prefetch_index(&[1u8, 2], 9);
    }
}
