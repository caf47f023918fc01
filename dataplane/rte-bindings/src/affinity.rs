//! CPU affinity of threads.

use std::io;
use std::mem::{MaybeUninit, size_of};

/// A set of CPUs a thread may run on.
pub(crate) struct Affinity(libc::cpu_set_t);

impl Affinity {
    pub(crate) fn of_current_thread() -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
        // SAFETY: the kernel writes at most the given size to `set`; pid 0 is the calling thread.
        let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: an array of integers, zeroed above: every bit pattern is valid.
        Ok(Self(unsafe { set.assume_init() }))
    }

    pub(crate) fn apply_to_current_thread(&self) -> io::Result<()> {
        // SAFETY: the kernel reads the given size from the set; pid 0 is the calling thread.
        match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &self.0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Binds the calling thread to one CPU, numbered as in `/proc/cpuinfo`.
///
/// # Errors
/// `EINVAL` when the CPU does not exist, is offline or is outside the process' cpuset.
pub fn pin_current_thread(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: an array of integers: all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `core` is below the capacity of the set, checked above.
    unsafe { libc::CPU_SET(core, &mut set) };
    Affinity(set).apply_to_current_thread()
}

/// The CPUs the calling thread may run on, in ascending order.
///
/// # Errors
/// The system call's, which a healthy system does not return.
pub fn current_affinity() -> io::Result<Vec<usize>> {
    let set = Affinity::of_current_thread()?.0;
    // SAFETY: the index is below the capacity of the set.
    Ok((0..libc::CPU_SETSIZE as usize)
        .filter(|&core| unsafe { libc::CPU_ISSET(core, &set) })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_and_refuses_missing_cpus() {
        std::thread::spawn(|| {
            let allowed = current_affinity().unwrap();
            let last = *allowed.last().unwrap();
            pin_current_thread(last).unwrap();
            assert_eq!(current_affinity().unwrap(), [last]);
            assert_eq!(
                pin_current_thread(1 << 20).unwrap_err().raw_os_error(),
                Some(libc::EINVAL)
            );
            assert_eq!(
                pin_current_thread(1023).unwrap_err().raw_os_error(),
                Some(libc::EINVAL)
            );
        })
        .join()
        .unwrap();
    }
}
