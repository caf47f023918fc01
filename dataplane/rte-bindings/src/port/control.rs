//! A port's addresses, modes, link, capabilities and counters.

use std::ffi::CStr;

use dpdk_sys as sys;

use super::{DeviceInfo, Link, MacAddr, Port, PortError, PortStats, RssFields, RxOffloads, TxOffloads};
use crate::errno::Errno;

impl Port {
    /// What the device can do.
    ///
    /// # Errors
    /// The driver's.
    pub fn info(&self) -> Result<DeviceInfo, PortError> {
        let raw = raw_info(self.id()).map_err(|errno| self.fail("get device info", errno))?;
        // SAFETY: takes any port number.
        let socket = unsafe { sys::rte_eth_dev_socket_id(self.id()) };
        Ok(DeviceInfo {
            // SAFETY: drivers give a static terminated string, or null.
            driver: unsafe { text(raw.driver_name) },
            device: device_name(&raw),
            if_index: (raw.if_index != 0).then_some(raw.if_index),
            socket: u32::try_from(socket).ok(),
            max_rx_queues: raw.max_rx_queues,
            max_tx_queues: raw.max_tx_queues,
            min_mtu: raw.min_mtu,
            max_mtu: raw.max_mtu,
            max_rx_pktlen: raw.max_rx_pktlen,
            rss: RssFields::from_bits_truncate(raw.flow_type_rss_offloads),
            reta_size: raw.reta_size,
            rx_offloads: RxOffloads::from_bits_truncate(raw.rx_offload_capa),
            tx_offloads: TxOffloads::from_bits_truncate(raw.tx_offload_capa),
        })
    }

    /// The port's Ethernet address.
    ///
    /// # Errors
    /// The driver's.
    pub fn mac(&self) -> Result<MacAddr, PortError> {
        let mut mac = sys::rte_ether_addr { addr_bytes: [0; 6] };
        // SAFETY: `mac` is writable.
        let result = unsafe { sys::rte_eth_macaddr_get(self.id(), &mut mac) };
        self.check("get MAC address", result)?;
        Ok(MacAddr(mac.addr_bytes))
    }

    /// Replaces the port's Ethernet address, which must be unicast.
    ///
    /// # Errors
    /// `EINVAL` for a multicast or zero address, `ENOTSUP` where the driver cannot.
    pub fn set_mac(&mut self, mac: MacAddr) -> Result<(), PortError> {
        let mut raw = sys::rte_ether_addr { addr_bytes: mac.0 };
        // SAFETY: `raw` is readable; DPDK copies it.
        self.check("set MAC address", unsafe {
            sys::rte_eth_dev_default_mac_addr_set(self.id(), &mut raw)
        })
    }

    /// The link's state, without waiting for one that is coming up.
    ///
    /// # Errors
    /// The driver's.
    pub fn link(&self) -> Result<Link, PortError> {
        let mut raw = sys::dpdk_sys_link {
            speed_mbps: 0,
            up: 0,
            full_duplex: 0,
        };
        // SAFETY: `raw` is writable.
        self.check("get link state", unsafe {
            sys::dpdk_sys_link_get(self.id(), &mut raw)
        })?;
        let known = raw.speed_mbps != 0 && raw.speed_mbps != sys::SYS_ETH_SPEED_NUM_UNKNOWN;
        Ok(Link {
            up: raw.up != 0,
            speed_mbps: known.then_some(raw.speed_mbps),
            full_duplex: raw.full_duplex != 0,
        })
    }

    /// Bytes of IP packet the port takes, as DPDK keeps it.
    ///
    /// # Errors
    /// The port has gone.
    pub fn mtu(&self) -> Result<u16, PortError> {
        let mut mtu = 0;
        // SAFETY: `mtu` is writable.
        self.check("get MTU", unsafe {
            sys::rte_eth_dev_get_mtu(self.id(), &mut mtu)
        })?;
        Ok(mtu)
    }

    /// Changes the MTU. Many drivers want the port stopped.
    ///
    /// # Errors
    /// `EINVAL` out of range, `ENOTSUP` where the driver cannot, `EBUSY` where it must be stopped.
    pub fn set_mtu(&mut self, mtu: u16) -> Result<(), PortError> {
        // SAFETY: takes any port and number.
        self.check("set MTU", unsafe { sys::rte_eth_dev_set_mtu(self.id(), mtu) })
    }

    /// Receives frames to any MAC address, or stops to.
    ///
    /// # Errors
    /// `ENOTSUP` where the driver cannot.
    pub fn set_promiscuous(&mut self, on: bool) -> Result<(), PortError> {
        let change = if on {
            sys::rte_eth_promiscuous_enable
        } else {
            sys::rte_eth_promiscuous_disable
        };
        // SAFETY: both take any port number.
        self.check("set promiscuous mode", unsafe { change(self.id()) })
    }

    /// Whether frames to any MAC address are received.
    pub fn promiscuous(&self) -> bool {
        // SAFETY: takes any port number.
        unsafe { sys::rte_eth_promiscuous_get(self.id()) == 1 }
    }

    /// Receives frames to any multicast address, or stops to.
    ///
    /// # Errors
    /// `ENOTSUP` where the driver cannot.
    pub fn set_allmulticast(&mut self, on: bool) -> Result<(), PortError> {
        let change = if on {
            sys::rte_eth_allmulticast_enable
        } else {
            sys::rte_eth_allmulticast_disable
        };
        // SAFETY: both take any port number.
        self.check("set all-multicast mode", unsafe { change(self.id()) })
    }

    /// Whether frames to any multicast address are received.
    pub fn allmulticast(&self) -> bool {
        // SAFETY: takes any port number.
        unsafe { sys::rte_eth_allmulticast_get(self.id()) == 1 }
    }

    /// The port's counters.
    ///
    /// # Errors
    /// `ENOTSUP` where the driver has none.
    pub fn stats(&self) -> Result<PortStats, PortError> {
        // SAFETY: a struct of integers.
        let mut raw: sys::rte_eth_stats = unsafe { std::mem::zeroed() };
        // SAFETY: `raw` is writable.
        self.check("get statistics", unsafe {
            sys::rte_eth_stats_get(self.id(), &mut raw)
        })?;
        Ok(PortStats {
            rx_packets: raw.ipackets,
            tx_packets: raw.opackets,
            rx_bytes: raw.ibytes,
            tx_bytes: raw.obytes,
            rx_missed: raw.imissed,
            rx_errors: raw.ierrors,
            tx_errors: raw.oerrors,
            rx_no_mbuf: raw.rx_nombuf,
        })
    }

    /// Sets the counters to zero.
    ///
    /// # Errors
    /// `ENOTSUP` where the driver cannot.
    pub fn reset_stats(&mut self) -> Result<(), PortError> {
        // SAFETY: takes any port number.
        self.check("reset statistics", unsafe { sys::rte_eth_stats_reset(self.id()) })
    }

    /// All counters the driver has, by name.
    ///
    /// # Errors
    /// The driver's.
    pub fn xstats(&self) -> Result<Vec<(String, u64)>, PortError> {
        const WHAT: &str = "get extended statistics";
        // SAFETY: a null array of size 0 asks for the number.
        let count = unsafe { sys::rte_eth_xstats_get_names(self.id(), std::ptr::null_mut(), 0) };
        let count = Errno::check(count).map_err(|errno| self.fail(WHAT, errno))? as usize;
        let empty = sys::rte_eth_xstat_name { name: [0; 64] };
        let mut names = vec![empty; count];
        let mut values = vec![sys::rte_eth_xstat { id: 0, value: 0 }; count];
        // SAFETY: the array has `count` elements.
        let got = unsafe { sys::rte_eth_xstats_get_names(self.id(), names.as_mut_ptr(), count as u32) };
        Errno::check(got).map_err(|errno| self.fail(WHAT, errno))?;
        // SAFETY: as above.
        let got = unsafe { sys::rte_eth_xstats_get(self.id(), values.as_mut_ptr(), count as u32) };
        let got = Errno::check(got).map_err(|errno| self.fail(WHAT, errno))? as usize;
        let named = values.iter().take(got).filter_map(|value| {
            let name = names.get(usize::try_from(value.id).ok()?)?;
            // SAFETY: DPDK terminates names within their array.
            Some((unsafe { text(name.name.as_ptr()) }, value.value))
        });
        Ok(named.collect())
    }
}

pub(super) fn raw_info(port: u16) -> Result<sys::rte_eth_dev_info, Errno> {
    // SAFETY: integers and pointers, for which zero and null are valid.
    let mut raw: sys::rte_eth_dev_info = unsafe { std::mem::zeroed() };
    // SAFETY: `raw` is writable.
    Errno::check(unsafe { sys::rte_eth_dev_info_get(port, &mut raw) })?;
    Ok(raw)
}

pub(super) fn device_name(info: &sys::rte_eth_dev_info) -> String {
    if info.device.is_null() {
        return String::new();
    }
    // SAFETY: the device exists as long as its port, which was just asked; its name is terminated.
    unsafe { text(sys::rte_dev_name(info.device)) }
}

/// # Safety
/// `raw` is null or points to a terminated string.
unsafe fn text(raw: *const std::ffi::c_char) -> String {
    if raw.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(raw) }.to_string_lossy().into_owned()
}
