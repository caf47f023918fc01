//! The control plane: tandemd, the daemon, and tandem, the CLI.

pub mod api;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod guard;
pub mod kernel;
pub mod monitor;
pub mod srd;
pub mod track_file;
