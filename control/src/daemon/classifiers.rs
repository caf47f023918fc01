//! Classifiers of firewall policies: the first program is compiled before DPDK runs, so its policies get DPDK's afterwards.

use std::sync::Arc;

use tandem_engine::program::Program;
use tandem_engine::program::policy::ClassifierBuilder;

/// A classifier could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the {direction} policies of service set \"{service_set}\" cannot be compiled: {why}")]
pub(super) struct ClassifierError {
    service_set: String,
    direction: &'static str,
    why: String,
}

/// The same program with classifiers of `builder`.
///
/// # Errors
/// [`ClassifierError`]: which list, and why.
pub(super) fn equip(
    program: &Program,
    builder: &dyn ClassifierBuilder,
) -> Result<Arc<Program>, ClassifierError> {
    let mut program = program.clone();
    for set in &mut program.service_sets {
        let Some(firewall) = &mut set.firewall else {
            continue;
        };
        for (direction, list) in [
            ("outbound", &mut firewall.outbound),
            ("inbound", &mut firewall.inbound),
        ] {
            list.classifier = builder.build(&list.policies).map_err(|why| ClassifierError {
                service_set: set.name.clone(),
                direction,
                why,
            })?;
        }
    }
    Ok(Arc::new(program))
}
