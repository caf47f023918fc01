//! What the NIC found out about a received packet, and what it is asked to do with one to send.

use dpdk_sys as sys;

use super::Mbuf;

/// What the NIC says of a checksum in a received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// It did not look. Software must, if it cares.
    Unknown,
    /// It is right.
    Good,
    /// It is wrong.
    Bad,
    /// It is wrong in the packet, but the data is known to be intact: a packet of a virtual peer on this host
    /// whose checksum was never filled in.
    Absent,
}

/// Network-layer part of a [`TxChecksum`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L3Checksum {
    /// IPv4, header checksum right already.
    Ipv4Done,
    /// IPv4, header checksum to be computed; its field must be zero.
    Ipv4,
    /// IPv6, which has none.
    Ipv6,
}

/// Transport-layer part of a [`TxChecksum`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L4Checksum {
    /// Nothing to compute.
    Done,
    /// TCP; the field must hold the pseudo-header's checksum, not complemented.
    Tcp,
    /// UDP; the field must hold the pseudo-header's checksum, not complemented.
    Udp,
    /// SCTP (CRC32c); the field must be zero.
    Sctp,
}

/// A request to the NIC to compute checksums. Only for what the port was granted: see
/// [`crate::PortGrants::tx_offloads`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxChecksum {
    /// Bytes in front of the IP header, below 128.
    pub l2_len: u8,
    /// Bytes of IP header, options and extension headers included, below 512.
    pub l3_len: u16,
    /// What to do about the network layer.
    pub l3: L3Checksum,
    /// What to do about the transport layer.
    pub l4: L4Checksum,
}

const L2_MASK: u64 = (1 << sys::DPDK_SYS_MBUF_L2_LEN_BITS) - 1;
const L3_MASK: u64 = (1 << sys::DPDK_SYS_MBUF_L3_LEN_BITS) - 1;

impl Mbuf {
    /// All flags, as in `rte_mbuf_core.h`.
    #[inline]
    pub fn ol_flags(&self) -> u64 {
        self.raw_ol_flags()
    }

    /// The NIC's hash of the packet, if it made one.
    #[inline]
    pub fn rss_hash(&self) -> Option<u32> {
        (self.raw_ol_flags() & sys::SYS_MBUF_F_RX_RSS_HASH != 0).then(|| self.raw_rss())
    }

    /// The NIC's classification, the `RTE_PTYPE_*` bits of `rte_mbuf_ptype.h`; 0 when it made none.
    #[inline]
    pub fn packet_type(&self) -> u32 {
        self.raw_packet_type()
    }

    /// What the NIC says of the IPv4 header checksum.
    #[inline]
    pub fn rx_ip_checksum(&self) -> Checksum {
        match self.raw_ol_flags() & sys::SYS_MBUF_F_RX_IP_CKSUM_MASK {
            0 => Checksum::Unknown,
            sys::SYS_MBUF_F_RX_IP_CKSUM_GOOD => Checksum::Good,
            sys::SYS_MBUF_F_RX_IP_CKSUM_BAD => Checksum::Bad,
            _ => Checksum::Absent,
        }
    }

    /// Whether the NIC said nothing of the IPv4 header checksum and took no VLAN tag off: one test for two questions that
    /// nearly always have the same answer.
    #[inline(always)]
    pub fn rx_ip_unchecked_untagged(&self) -> bool {
        self.raw_ol_flags() & (sys::SYS_MBUF_F_RX_IP_CKSUM_MASK | sys::SYS_MBUF_F_RX_VLAN_STRIPPED) == 0
    }

    /// Whether the NIC found the IPv4 header checksum good and took no VLAN tag off.
    #[inline(always)]
    pub fn rx_ip_good_untagged(&self) -> bool {
        self.raw_ol_flags() & (sys::SYS_MBUF_F_RX_IP_CKSUM_MASK | sys::SYS_MBUF_F_RX_VLAN_STRIPPED)
            == sys::SYS_MBUF_F_RX_IP_CKSUM_GOOD
    }

    /// What the NIC says of the TCP, UDP or SCTP checksum.
    #[inline]
    pub fn rx_l4_checksum(&self) -> Checksum {
        match self.raw_ol_flags() & sys::SYS_MBUF_F_RX_L4_CKSUM_MASK {
            0 => Checksum::Unknown,
            sys::SYS_MBUF_F_RX_L4_CKSUM_GOOD => Checksum::Good,
            sys::SYS_MBUF_F_RX_L4_CKSUM_BAD => Checksum::Bad,
            _ => Checksum::Absent,
        }
    }

    /// The tag control information of a VLAN tag that the NIC took off, host order. The tag is no longer in
    /// the data.
    #[inline]
    pub fn stripped_vlan_tci(&self) -> Option<u16> {
        (self.raw_ol_flags() & sys::SYS_MBUF_F_RX_VLAN_STRIPPED != 0).then(|| self.raw_vlan_tci())
    }

    /// Forgets every request to the NIC. A received packet may carry none, but one turned round on a port
    /// that reuses flags should not.
    #[inline]
    pub fn clear_tx_offload(&mut self) {
        self.set_raw_ol_flags(self.raw_ol_flags() & !sys::SYS_MBUF_F_TX_OFFLOAD_MASK);
    }

    /// Asks the NIC to compute checksums when it sends the packet. Replaces an earlier request.
    ///
    /// Returns false, and asks for nothing, when a length is out of range.
    #[inline]
    pub fn set_tx_checksum(&mut self, request: TxChecksum) -> bool {
        let (l2, l3) = (u64::from(request.l2_len), u64::from(request.l3_len));
        if l2 > L2_MASK || l3 > L3_MASK {
            return false;
        }
        let mut flags = self.raw_ol_flags();
        flags &= !(sys::SYS_MBUF_F_TX_L4_MASK
            | sys::SYS_MBUF_F_TX_IP_CKSUM
            | sys::SYS_MBUF_F_TX_IPV4
            | sys::SYS_MBUF_F_TX_IPV6);
        flags |= match request.l3 {
            L3Checksum::Ipv4Done => sys::SYS_MBUF_F_TX_IPV4,
            L3Checksum::Ipv4 => sys::SYS_MBUF_F_TX_IPV4 | sys::SYS_MBUF_F_TX_IP_CKSUM,
            L3Checksum::Ipv6 => sys::SYS_MBUF_F_TX_IPV6,
        };
        flags |= match request.l4 {
            L4Checksum::Done => 0,
            L4Checksum::Tcp => sys::SYS_MBUF_F_TX_TCP_CKSUM,
            L4Checksum::Udp => sys::SYS_MBUF_F_TX_UDP_CKSUM,
            L4Checksum::Sctp => sys::SYS_MBUF_F_TX_SCTP_CKSUM,
        };
        self.set_raw_ol_flags(flags);
        // The lengths of tunnels and segmentation, which share the word, are not used here but kept.
        let lengths = L2_MASK << sys::DPDK_SYS_MBUF_L2_LEN_SHIFT | L3_MASK << sys::DPDK_SYS_MBUF_L3_LEN_SHIFT;
        let request = l2 << sys::DPDK_SYS_MBUF_L2_LEN_SHIFT | l3 << sys::DPDK_SYS_MBUF_L3_LEN_SHIFT;
        self.set_raw_tx_offload(self.raw_tx_offload() & !lengths | request);
        true
    }

    /// Asks the NIC to insert a VLAN tag with this tag control information, host order, behind the MAC
    /// addresses. Only on a port that was granted [`crate::TxOffloads::VLAN_INSERT`].
    #[inline]
    pub fn set_vlan_insert(&mut self, tci: u16) {
        self.set_raw_vlan_tci(tci);
        self.set_raw_ol_flags(self.raw_ol_flags() | sys::SYS_MBUF_F_TX_VLAN);
    }
}
