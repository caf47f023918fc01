//! Carriers of taps: each that of its port, unless it is hidden, as the ports of a redundancy set that is not primary here may be.
//!
//! Ports and roles change on threads of their own, and each asks for what it knows; the carrier is what both allow.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::KernelError;

/// A tap's number in the kernel.
type Ifindex = u32;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Carrier {
    port_is_up: bool,
    hidden: bool,
    /// As the kernel was told last; none: it was not, or refused.
    told: Option<bool>,
}

/// The carriers of this process' taps.
#[derive(Debug, Default)]
pub struct Carriers(Mutex<BTreeMap<Ifindex, Carrier>>);

impl Carriers {
    /// The port of a tap is up, or down. `tell` gives the tap its carrier, or takes it.
    ///
    /// # Errors
    /// As `tell`.
    pub fn port(
        &self,
        ifindex: Ifindex,
        is_up: bool,
        tell: impl FnOnce(bool) -> Result<(), KernelError>,
    ) -> Result<(), KernelError> {
        self.change(ifindex, |carrier| carrier.port_is_up = is_up, tell)
    }

    /// The tap is to show as down whatever its port is, or not any more.
    ///
    /// # Errors
    /// As `tell`.
    pub fn hide(
        &self,
        ifindex: Ifindex,
        hidden: bool,
        tell: impl FnOnce(bool) -> Result<(), KernelError>,
    ) -> Result<(), KernelError> {
        self.change(ifindex, |carrier| carrier.hidden = hidden, tell)
    }

    fn change(
        &self,
        ifindex: Ifindex,
        change: impl FnOnce(&mut Carrier),
        tell: impl FnOnce(bool) -> Result<(), KernelError>,
    ) -> Result<(), KernelError> {
        // Held until the kernel knows: of two changes the later one is told last.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let carrier = all.entry(ifindex).or_default();
        change(carrier);
        let wanted = carrier.port_is_up && !carrier.hidden;
        if carrier.told == Some(wanted) {
            return Ok(());
        }
        carrier.told = None;
        tell(wanted)?;
        carrier.told = Some(wanted);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_carrier_is_there_while_the_port_is_up_and_not_hidden() {
        let carriers = Carriers::default();
        let told = RefCell::new(Vec::new());
        let tell = |up| {
            told.borrow_mut().push(up);
            Ok(())
        };
        // A tap has a carrier when it is made, so the first word is told in any case.
        carriers.hide(7, true, tell).expect("told");
        carriers.port(7, true, tell).expect("told");
        assert_eq!(*told.borrow(), [false], "hidden: the port changes nothing");
        carriers.hide(7, false, tell).expect("told");
        carriers.hide(7, false, tell).expect("told");
        carriers.port(7, false, tell).expect("told");
        carriers.hide(7, true, tell).expect("told");
        assert_eq!(*told.borrow(), [false, true, false], "each change once");
    }

    #[test]
    fn what_the_kernel_refuses_is_told_again() {
        let carriers = Carriers::default();
        let refused = carriers.port(1, true, |_| Err(KernelError::NoDevice("t".into())));
        assert!(refused.is_err());
        let mut told = None;
        let tell = |up| {
            told = Some(up);
            Ok(())
        };
        carriers.port(1, true, tell).expect("told");
        assert_eq!(told, Some(true));
    }
}
