//! The classifier on DPDK against the plain one of the engine: the same answer for every key.
//!
//! EAL starts once per process, so everything that needs it and is about classification is in this binary.
#![forbid(unsafe_code)]

mod differential;
mod limits;
mod random;

use std::sync::OnceLock;

use rte_bindings::Eal;
use tandem_dataplane::classifier::AclBuilder;

/// The shared EAL, without hugepages.
fn eal() -> &'static Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    EAL.get_or_init(|| {
        let arguments = "--no-huge --no-shconf --no-pci --no-telemetry --iova-mode=va -m 1024 --lcores 0@(0)";
        let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        Eal::init(&arguments).expect("EAL")
    })
}

/// One that never takes the plain classifier instead.
fn builder() -> AclBuilder {
    AclBuilder::new(eal()).never_plain()
}
