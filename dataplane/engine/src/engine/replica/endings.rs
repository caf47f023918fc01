//! What the other chassis says to be ended: sessions, and mappings.

use super::Engine;
use super::install::{NotInstalled, record_like};
use super::tables::Table;
use crate::engine::EndReason;
use crate::program::ServiceSetId;
use crate::replica::{MappingRecord, SessionKey};

impl Engine {
    pub(super) fn install_end(
        &mut self,
        key: &SessionKey,
        set: ServiceSetId,
        protocol: u8,
    ) -> Result<(), NotInstalled> {
        let hot = record_like(key, set, protocol, self.now);
        let (out, _) = self.sessions.places(&hot);
        let found = self.find_like(&hot, out).filter(|n| self.is_same(*n, &hot));
        self.check_ends(set, Table::Sessions, found)?;
        self.replica.contested.forget_session(key, protocol);
        if let Some(number) = found {
            self.end(number, EndReason::Told);
        }
        Ok(())
    }

    pub(super) fn install_mapping_end(&mut self, record: &MappingRecord) -> Result<(), NotInstalled> {
        let found = self
            .mappings
            .find_public(record.public, record.public_port, record.protocol);
        let found = found.filter(|n| self.is_mapping_of(*n, record));
        self.check_ends(record.service_set, Table::Mappings, found)?;
        self.replica.contested.forget_mapping(record);
        let Some(number) = found else {
            return Ok(());
        };
        if let Some(mapping) = self.mappings.get_mut(number) {
            mapping.set_known(false);
        }
        self.end_mapping_if_unused(number);
        Ok(())
    }

    fn is_mapping_of(&self, number: u32, record: &MappingRecord) -> bool {
        let Some(mapping) = self.mappings.get(number) else {
            return false;
        };
        self.subscribers.get(mapping.subscriber).is_some_and(|of| {
            (of.service_set, mapping.inside(of), mapping.inside_port)
                == (record.service_set, record.inside, record.inside_port)
        })
    }

    /// Whether the other chassis may say that something ends. Of what is offered, only what the running bulk has told already: it is
    /// refused then. From that bulk's end until the offer is acknowledged nothing may (offer.rs): it is swept afterwards.
    fn check_ends(&self, set: ServiceSetId, table: Table, number: Option<u32>) -> Result<(), NotInstalled> {
        let is_told = |n| self.is_offered(set) && self.has_passed(table, n);
        match self.check_standby(set) {
            Err(NotInstalled::Unoffered) if number.is_some_and(is_told) => Ok(()),
            checked => checked,
        }
    }
}
