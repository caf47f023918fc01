//! What the engine's own tests stand on (`dataplane/engine/tests/engine/common`), as a library, so that the tests of other crates
//! put real engines into the same world: programs from a small set of words, a toy router, packets, workers under virtual time.

#[path = "../../tests/engine/common/mod.rs"]
mod common;

pub use common::*;

#[path = "../../tests/engine/simulator/ledger.rs"]
mod ledger;

#[path = "../../tests/engine/simulator/books.rs"]
pub mod books;
