//! Two primaries: an operator makes a chassis primary that cannot or need not ask the other. The traffic comes to the new one; the
//! old one yields as soon as it hears of it.

use tandem_redundancy::machine::Command;

use super::Pair;

impl Pair {
    /// Makes the other chassis primary of a set, whatever the present primary says.
    pub fn force(&mut self, set: u16) -> &'static str {
        if self.around.is_some() {
            self.order(1, set, Command::Switchover { force: true });
            return "a switchover is forced";
        }
        let at = usize::from(set) - 1;
        let Some(from) = self.settled_primary(at) else {
            return "no forced primary";
        };
        let [Some(_), Some(_)] = &self.sides else {
            return "no forced primary, the other is down";
        };
        let known = self.knowledge_of(from);
        self.bequeath(set, from);
        self.forget_unknown(set, from, known);
        self.make_primary(set, 1 - from);
        self.deposed[at] = Some(from);
        self.report.forced += 1;
        self.pump();
        "a forced primary"
    }

    /// Whether those who are primary no more have heard of it, and nobody else yields.
    pub(super) fn look_at_deposed(&mut self) {
        for at in 0..self.deposed.len() {
            let set = at as u16 + 1;
            for (chassis, side) in self.sides.iter_mut().enumerate() {
                let Some(side) = side else { continue };
                if side.take_yielded(set) {
                    let deposed = self.deposed[at] == Some(chassis);
                    assert!(
                        deposed,
                        "chassis {chassis} yields {set}, and nobody else was made primary"
                    );
                    self.report.yielded += 1;
                }
            }
            let deposed = self.deposed[at].and_then(|deposed| self.sides[deposed].as_ref());
            if deposed.is_some_and(|side| side.is_standby(set)) {
                self.deposed[at] = None;
            }
        }
    }
}
