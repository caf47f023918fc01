//! Big-endian fields in byte slices, read and written without panics.
//!
//! The `*_at` functions check the bounds of a slice; views use fixed-size arrays instead and index them with
//! constants, which the compiler proves.

/// The big-endian `u16` at `offset`, or `None` beyond the end.
#[inline(always)]
pub(crate) fn u16_at(data: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*data.get(offset..)?.first_chunk::<2>()?))
}

/// Writes a big-endian `u16` at `offset`; `None` (and nothing written) beyond the end.
#[inline(always)]
pub(crate) fn put_u16(data: &mut [u8], offset: usize, value: u16) -> Option<()> {
    *data.get_mut(offset..)?.first_chunk_mut::<2>()? = value.to_be_bytes();
    Some(())
}

/// Copies `from` over `to`; `None` (and nothing written) when their lengths differ.
#[inline(always)]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) -> Option<()> {
    if to.len() != from.len() {
        return None;
    }
    to.copy_from_slice(from);
    Some(())
}
