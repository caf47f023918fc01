//! DPDK's error numbers.

use std::ffi::CStr;
use std::fmt;

use dpdk_sys as sys;

/// An error number as DPDK reports it: a positive `errno` value, or one of DPDK's own above 1000.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

impl Errno {
    /// Wraps the result of a DPDK function: the sign does not matter.
    pub fn new(code: i32) -> Self {
        Self(code.saturating_abs())
    }

    /// The calling thread's `rte_errno`.
    pub(crate) fn last() -> Self {
        // SAFETY: reads a thread-local of the calling thread.
        Self::new(unsafe { sys::dpdk_sys_errno() })
    }

    /// `Ok` for a zero or positive result, the error for a negative one.
    pub(crate) fn check(result: i32) -> Result<i32, Self> {
        if result < 0 {
            Err(Self::new(result))
        } else {
            Ok(result)
        }
    }

    /// The positive number, comparable with `libc::E*`.
    pub fn code(self) -> i32 {
        self.0
    }

    /// Whether the device or driver lacks the function asked for.
    pub fn is_unsupported(self) -> bool {
        matches!(self.0, libc::ENOTSUP | libc::ENOSYS)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: rte_strerror returns a terminated string, static or in a per-thread buffer, that stays as
        // it is until this thread's next call of it.
        let text = unsafe { CStr::from_ptr(sys::rte_strerror(self.0)) };
        write!(f, "{} ({})", text.to_string_lossy(), self.0)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}: {self})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_is_dropped_and_text_is_found() {
        assert_eq!(Errno::new(-libc::ENOENT), Errno::new(libc::ENOENT));
        assert!(Errno::new(libc::ENOENT).to_string().contains("No such file"));
        assert!(Errno::new(-libc::ENOTSUP).is_unsupported());
        assert_eq!(Errno::check(3), Ok(3));
        assert_eq!(Errno::check(-5), Err(Errno::new(5)));
        assert_eq!(Errno::new(i32::MIN).code(), i32::MAX);
    }
}
