//! Interfaces: what a port is, whether it is up and why not, and what the port itself has counted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An Ethernet address, written `02:00:00:00:00:01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes: Vec<u8> = text
            .split(':')
            .map(|part| {
                if part.len() == 2 {
                    u8::from_str_radix(part, 16).ok()
                } else {
                    None
                }
            })
            .collect::<Option<_>>()
            .ok_or_else(|| format!("{text:?} is not an Ethernet address"))?;
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| format!("{text:?} is not an Ethernet address"))
    }
}

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Whether an interface carries traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// DPDK's link is up, and so is the netdev's carrier where there is a netdev.
    Up,
    /// One of the two is not.
    Down,
}

/// Why an interface is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DownReason {
    /// DPDK reports no link.
    DpdkLink,
    /// The netdev behind the port has no carrier, or is gone.
    Carrier,
    /// The port could not be started, or was stopped.
    NotStarted,
}

impl DownReason {
    /// Its name in views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DpdkLink => "dpdk-link",
            Self::Carrier => "carrier",
            Self::NotStarted => "not-started",
        }
    }
}

/// What the port has counted since it was started. Ethernet frames, without FCS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PortCounters {
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames the port received and refused as erroneous.
    pub rx_errors: u64,
    /// Frames lost because no receive descriptor was free.
    pub rx_missed: u64,
    /// Frames lost because no packet buffer was free.
    pub rx_no_buffer: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames the port failed to send.
    pub tx_errors: u64,
}

impl std::iter::Sum for PortCounters {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            rx_packets: sum.rx_packets + one.rx_packets,
            rx_bytes: sum.rx_bytes + one.rx_bytes,
            rx_errors: sum.rx_errors + one.rx_errors,
            rx_missed: sum.rx_missed + one.rx_missed,
            rx_no_buffer: sum.rx_no_buffer + one.rx_no_buffer,
            tx_packets: sum.tx_packets + one.tx_packets,
            tx_bytes: sum.tx_bytes + one.tx_bytes,
            tx_errors: sum.tx_errors + one.tx_errors,
        })
    }
}

/// A member of a redundant interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MemberState {
    /// Its name in the config.
    pub name: String,
    /// Link and carrier are up.
    pub up: bool,
    /// What a tracked IP said when the member failed by it, if it has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failed: Option<String>,
    /// What its port has counted, active or not.
    #[serde(default)]
    pub counters: PortCounters,
}

/// A member is to become active, and waits for its hold-down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MemberWait {
    /// The member.
    pub member: String,
    /// Until the hold-down ends, milliseconds.
    pub ends_in_ms: u64,
}

impl std::fmt::Display for MemberWait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "waits for hold-down, ends in {} ms", self.ends_in_ms)
    }
}

/// A member became active in place of the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MemberSwitch {
    /// When, seconds since 1970-01-01 UTC.
    pub at_unix_s: u64,
    /// The member that was active.
    pub from: String,
    /// The member that is active since.
    pub to: String,
    /// Why.
    pub cause: String,
}

/// The members of a redundant interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RedundantState {
    /// The active member.
    pub active: String,
    /// The primary member.
    pub primary: String,
    /// The member that a command forces, until it is reverted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub forced: Option<String>,
    /// The member that is to become active after its hold-down. When the active one is not well, nothing is forwarded until then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waits: Option<MemberWait>,
    /// The primary member and the secondary.
    pub members: Vec<MemberState>,
    /// How often the secondary became active since start.
    pub failovers: u64,
    /// How often the primary did.
    pub take_backs: u64,
    /// The last 16 of both, the latest first.
    pub switches: Vec<MemberSwitch>,
}

/// Which member of a redundant interface is preferred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MemberRequest {
    /// The member to force; null for the primary again.
    pub member: Option<String>,
}

/// One interface: a port, a redundant interface, or one VLAN of either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Interface {
    /// Its name in the config.
    pub name: String,
    /// The DPDK device: a PCI address or the name of a virtual device.
    pub device: String,
    /// The poll-mode driver.
    pub driver: String,
    /// Its Ethernet address.
    #[schema(value_type = String, example = "02:00:00:00:00:01")]
    pub mac: Mac,
    /// Largest IP packet it sends, bytes.
    pub mtu: u32,
    /// VLAN it is, if it is one. 1..=4094.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vlan: Option<u16>,
    /// The kernel device that mirrors it.
    pub tap: String,
    /// Receive queues of its port.
    pub rx_queues: u16,
    /// Transmit queues of its port.
    pub tx_queues: u16,
    /// The port's speed, Mbit/s; none when the driver does not say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub speed_mbps: Option<u32>,
    /// Up or down.
    pub state: LinkState,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub down_reason: Option<DownReason>,
    /// Of a redundant interface: its members. The device and its numbers are then the active member's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub redundant: Option<RedundantState>,
    /// What its port has counted, of a redundant interface both members' together. All VLANs of one port show the port's numbers.
    pub counters: PortCounters,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_reads_back_what_it_writes_and_refuses_the_rest() {
        let mac = Mac([2, 0, 0, 0xab, 0, 1]);
        assert_eq!(mac.to_string(), "02:00:00:ab:00:01");
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for bad in [
            "",
            "02:00:00:ab:00",
            "02:00:00:ab:00:01:02",
            "2:0:0:ab:0:1",
            "02:00:00:gg:00:01",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
