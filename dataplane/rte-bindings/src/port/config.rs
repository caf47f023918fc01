//! What a port is asked for, and what it gives.

use std::fmt;

use bitflags::bitflags;
use dpdk_sys as sys;

bitflags! {
    /// Work the NIC can do on received packets.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct RxOffloads: u64 {
        /// Take a VLAN tag off; see [`crate::Mbuf::stripped_vlan_tci`].
        const VLAN_STRIP = sys::SYS_ETH_RX_OFFLOAD_VLAN_STRIP;
        /// Check the IPv4 header checksum.
        const IPV4_CHECKSUM = sys::SYS_ETH_RX_OFFLOAD_IPV4_CKSUM;
        /// Check UDP checksums.
        const UDP_CHECKSUM = sys::SYS_ETH_RX_OFFLOAD_UDP_CKSUM;
        /// Check TCP checksums.
        const TCP_CHECKSUM = sys::SYS_ETH_RX_OFFLOAD_TCP_CKSUM;
        /// Check SCTP checksums.
        const SCTP_CHECKSUM = sys::SYS_ETH_RX_OFFLOAD_SCTP_CKSUM;
        /// Spread packets larger than a buffer over a chain.
        const SCATTER = sys::SYS_ETH_RX_OFFLOAD_SCATTER;
        /// Deliver the RSS hash with the packet; see [`crate::Mbuf::rss_hash`].
        const RSS_HASH = sys::SYS_ETH_RX_OFFLOAD_RSS_HASH;
    }
}

bitflags! {
    /// Work the NIC can do on packets to send.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct TxOffloads: u64 {
        /// Insert a VLAN tag; see [`crate::Mbuf::set_vlan_insert`].
        const VLAN_INSERT = sys::SYS_ETH_TX_OFFLOAD_VLAN_INSERT;
        /// Compute the IPv4 header checksum; see [`crate::Mbuf::set_tx_checksum`].
        const IPV4_CHECKSUM = sys::SYS_ETH_TX_OFFLOAD_IPV4_CKSUM;
        /// Compute UDP checksums.
        const UDP_CHECKSUM = sys::SYS_ETH_TX_OFFLOAD_UDP_CKSUM;
        /// Compute TCP checksums.
        const TCP_CHECKSUM = sys::SYS_ETH_TX_OFFLOAD_TCP_CKSUM;
        /// Compute SCTP checksums.
        const SCTP_CHECKSUM = sys::SYS_ETH_TX_OFFLOAD_SCTP_CKSUM;
        /// Send packets that are chains of segments.
        const MULTI_SEGS = sys::SYS_ETH_TX_OFFLOAD_MULTI_SEGS;
    }
}

bitflags! {
    /// Which packets RSS hashes, and on what.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct RssFields: u64 {
        /// IPv4 addresses.
        const IPV4 = sys::SYS_ETH_RSS_IPV4;
        /// IPv4 fragments, by addresses.
        const IPV4_FRAGMENT = sys::SYS_ETH_RSS_FRAG_IPV4;
        /// TCP over IPv4.
        const IPV4_TCP = sys::SYS_ETH_RSS_NONFRAG_IPV4_TCP;
        /// UDP over IPv4.
        const IPV4_UDP = sys::SYS_ETH_RSS_NONFRAG_IPV4_UDP;
        /// SCTP over IPv4.
        const IPV4_SCTP = sys::SYS_ETH_RSS_NONFRAG_IPV4_SCTP;
        /// Other protocols over IPv4, by addresses.
        const IPV4_OTHER = sys::SYS_ETH_RSS_NONFRAG_IPV4_OTHER;
        /// IPv6 addresses.
        const IPV6 = sys::SYS_ETH_RSS_IPV6;
        /// IPv6 fragments, by addresses.
        const IPV6_FRAGMENT = sys::SYS_ETH_RSS_FRAG_IPV6;
        /// TCP over IPv6.
        const IPV6_TCP = sys::SYS_ETH_RSS_NONFRAG_IPV6_TCP;
        /// UDP over IPv6.
        const IPV6_UDP = sys::SYS_ETH_RSS_NONFRAG_IPV6_UDP;
        /// SCTP over IPv6.
        const IPV6_SCTP = sys::SYS_ETH_RSS_NONFRAG_IPV6_SCTP;
        /// Other protocols over IPv6, by addresses.
        const IPV6_OTHER = sys::SYS_ETH_RSS_NONFRAG_IPV6_OTHER;
        /// Of the addresses use the source only.
        const L3_SOURCE_ONLY = sys::SYS_ETH_RSS_L3_SRC_ONLY as u64;
        /// Of the addresses use the destination only.
        const L3_DESTINATION_ONLY = sys::SYS_ETH_RSS_L3_DST_ONLY;
        /// Of the ports use the source only.
        const L4_SOURCE_ONLY = sys::SYS_ETH_RSS_L4_SRC_ONLY;
        /// Of the ports use the destination only.
        const L4_DESTINATION_ONLY = sys::SYS_ETH_RSS_L4_DST_ONLY;
    }
}

impl RssFields {
    /// The flags that narrow a hash rather than choose packets. A narrowed hash that the NIC cannot do must
    /// not fall back to the full one, which spreads differently: check what was granted.
    pub const NARROWING: Self = Self::L3_SOURCE_ONLY
        .union(Self::L3_DESTINATION_ONLY)
        .union(Self::L4_SOURCE_ONLY)
        .union(Self::L4_DESTINATION_ONLY);
}

/// What a port is asked for. Offloads, RSS and receive modes are wishes: the port's [`PortGrants`] say which
/// came true. Numbers are demands, except descriptors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// Receive queues, at least 1 and at most [`DeviceInfo::max_rx_queues`].
    pub rx_queues: u16,
    /// Transmit queues, at least 1 and at most [`DeviceInfo::max_tx_queues`].
    pub tx_queues: u16,
    /// Descriptors per receive queue; moved to the nearest number the device can do.
    pub rx_desc: u16,
    /// Descriptors per transmit queue; moved likewise.
    pub tx_desc: u16,
    /// Bytes of IP packet, or `None` for the driver's default.
    pub mtu: Option<u16>,
    /// Receive frames to any MAC address.
    pub promiscuous: bool,
    /// Receive frames to any multicast address.
    pub allmulticast: bool,
    /// Spread packets over receive queues by a hash of these. Without it everything goes to queue 0.
    pub rss: Option<RssFields>,
    /// Wanted receive offloads. `SCATTER` is added when the MTU needs it, `RSS_HASH` when RSS is on.
    pub rx_offloads: RxOffloads,
    /// Wanted transmit offloads.
    pub tx_offloads: TxOffloads,
}

impl Default for PortConfig {
    /// One queue each way of 1024 descriptors, the driver's MTU, nothing else.
    fn default() -> Self {
        Self {
            rx_queues: 1,
            tx_queues: 1,
            rx_desc: 1024,
            tx_desc: 1024,
            mtu: None,
            promiscuous: false,
            allmulticast: false,
            rss: None,
            rx_offloads: RxOffloads::empty(),
            tx_offloads: TxOffloads::empty(),
        }
    }
}

/// What a configured port does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortGrants {
    /// Descriptors per receive queue.
    pub rx_desc: u16,
    /// Descriptors per transmit queue.
    pub tx_desc: u16,
    /// Bytes of IP packet, as DPDK keeps it.
    pub mtu: u16,
    /// Whether the driver took the MTU over. Several virtual ones cannot: there the kernel device or the peer
    /// decides.
    pub mtu_applied: bool,
    /// Whether frames to any MAC address are received.
    pub promiscuous: bool,
    /// Whether frames to any multicast address are received.
    pub allmulticast: bool,
    /// What RSS hashes; empty when it is off.
    pub rss: RssFields,
    /// Receive offloads that are on.
    pub rx_offloads: RxOffloads,
    /// Transmit offloads that are on.
    pub tx_offloads: TxOffloads,
}

/// What a device can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The driver, such as `net_ixgbe` or `net_af_xdp`.
    pub driver: String,
    /// The device, such as `0000:3b:00.0` or `net_af_xdp0`.
    pub device: String,
    /// Index of the kernel's network device behind it, where there is one.
    pub if_index: Option<u32>,
    /// NUMA node, where it has one.
    pub socket: Option<u32>,
    /// Most receive queues.
    pub max_rx_queues: u16,
    /// Most transmit queues.
    pub max_tx_queues: u16,
    /// Smallest MTU in bytes.
    pub min_mtu: u16,
    /// Largest MTU in bytes.
    pub max_mtu: u16,
    /// Largest frame in bytes.
    pub max_rx_pktlen: u32,
    /// What RSS can hash; the `NARROWING` bits are often accepted without being listed.
    pub rss: RssFields,
    /// Entries of the RSS redirection table.
    pub reta_size: u16,
    /// Possible receive offloads.
    pub rx_offloads: RxOffloads,
    /// Possible transmit offloads.
    pub tx_offloads: TxOffloads,
}

/// State of a port's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether it is up, as far as the driver knows. Virtual devices say up regardless of carrier.
    pub up: bool,
    /// Mbit/s, where known.
    pub speed_mbps: Option<u32>,
    /// Full duplex.
    pub full_duplex: bool,
}

/// Packet and byte counts of a port since start or reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets the device dropped because nobody fetched them in time.
    pub rx_missed: u64,
    /// Damaged packets received.
    pub rx_errors: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Receive attempts without a free mbuf.
    pub rx_no_mbuf: u64,
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
