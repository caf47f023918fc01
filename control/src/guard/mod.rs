//! The guard: a small process beside tandemd that outlives it and undoes what must not outlive it.
//!
//! ```text
//!   tandemd -- list of what to undo, on each change --> guard        a socket pair; the kernel closes tandemd's end
//!      |                                                  |          however tandemd ends
//!      '-- ends without a word ---------------------------'-> the peer is told, VRRP, signal routes, virtual addresses
//! ```
//!
//! After `kill -9` the kernel still has tandemd's signal routes, and the routing daemon goes on advertising them. Nobody but
//! another process can take them away, and tell the other chassis, in milliseconds. [`Keeper`] is tandemd's side: it starts the
//! guard, hands it the list, and starts another one when it dies. [`main`] is the guard itself: tandemd's own program, started
//! with [`ARGUMENT`]. It has no thread, needs no memory for what it does at the end but small buffers, and keeps two capabilities.

mod gone;
mod keeper;
mod owed;
mod process;
mod undo;

pub use gone::Gone;
pub use keeper::{GuardError, GuardState, Keeper, Program};
pub use process::{ARGUMENT, main};
pub use undo::Undo;

/// Ends this process at once, as `kill -9` does: the guard takes everything out and tells the peer, and no worker forwards another
/// packet. For when something is broken that an end in order needs.
pub fn end_as_killed(why: &str) -> ! {
    // Not by the log: nobody would wait for it.
    eprintln!("tandemd: {why}; the process ends now, as if it had been killed, so that the peer takes over");
    // It does not come back from this; should it be refused, the next is as good, only slower where it writes a core file.
    let _refused = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    std::process::abort()
}

/// Closes, in this thread's table of descriptors, all but standard input, output and error. Who calls it owns none.
fn close_all_but_standard() -> std::io::Result<()> {
    // Collected first: the folder itself is read through one of them.
    let names: Vec<_> = std::fs::read_dir("/proc/thread-self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .collect();
    for descriptor in names.into_iter().filter(|number| *number > 2) {
        // The folder's is closed already.
        let _closed = nix::unistd::close(descriptor);
    }
    Ok(())
}
