//! What the peer may change on this chassis: nothing by a channel that anybody could have written to, and the configuration only
//! where this chassis is to have the peer's.

use ha_sync::net::Security;

use super::said::Question;
use crate::config::Config;

/// Why what the peer wants is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Disobeyed {
    /// Whoever reaches the port could have asked.
    #[error("the channel is not encrypted (security = \"none\"): do it on each chassis")]
    InClear,
    /// This chassis' configuration is its own.
    #[error("the configuration that runs there does not have propagate-configuration = true")]
    NotPropagated,
}

/// Whether this may be done with this configuration in force. Questions that change nothing may always be answered.
pub(super) fn may(question: &Question, config: &Config) -> Result<(), Disobeyed> {
    let redundancy = &config.redundancy;
    let is_in_clear = redundancy
        .groups
        .iter()
        .any(|group| matches!(group.security, Security::None));
    match question {
        Question::Adopt { .. } | Question::Revert { .. } | Question::ClearSessions { .. } if is_in_clear => {
            Err(Disobeyed::InClear)
        }
        Question::Adopt { .. } | Question::Revert { .. } if !redundancy.propagate_configuration => {
            Err(Disobeyed::NotPropagated)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::params::SessionParams;

    fn config(propagates: bool, security: &str) -> Config {
        let text = format!(
            "[interfaces.in0]\ndevice = \"net_ring0\"\n[redundancy]\nredundancy-local = \"5.5.5.1\"\n\
             propagate-configuration = {propagates}\n[redundancy-groups.1]\nredundancy-peer = \"5.5.5.2\"\n\
             heartbeat-interval-ms = 0\n{security}\n"
        );
        crate::config::parse(&text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"))
    }

    #[test]
    fn nothing_is_changed_in_clear_nor_a_configuration_that_is_this_chassis_own() {
        const TLS: &str = "certificate = \"a.crt\"\nkey = \"a.key\"\nca = \"ca.crt\"";
        const CLEAR: &str = "security = \"none\"";
        let adopt = |dry_run| Question::Adopt {
            shared: String::new(),
            dry_run,
        };
        let changes = [adopt(true), adopt(false), Question::Revert { generation: 7 }];
        let clear = Question::ClearSessions {
            filter: SessionParams::default(),
        };
        for (propagates, security, of_configuration, of_sessions) in [
            (true, TLS, Ok(()), Ok(())),
            (false, TLS, Err(Disobeyed::NotPropagated), Ok(())),
            (true, CLEAR, Err(Disobeyed::InClear), Err(Disobeyed::InClear)),
            (false, CLEAR, Err(Disobeyed::InClear), Err(Disobeyed::InClear)),
        ] {
            let config = config(propagates, security);
            for question in &changes {
                assert_eq!(may(question, &config), of_configuration, "{question:?}");
            }
            assert_eq!(may(&clear, &config), of_sessions);
            for question in [Question::Configuration, Question::Files, Question::Unknown] {
                assert_eq!(may(&question, &config), Ok(()), "{question:?}");
            }
        }
    }
}
