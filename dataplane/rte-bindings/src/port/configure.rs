//! Setting up a port: what is wished for meets what the device can do.

use dpdk_sys as sys;

use super::{Port, PortConfig, PortError, PortGrants, RssFields, RxOffloads, TxOffloads, control};
use crate::mempool::Mempool;

impl Port {
    /// Sets up the port and its queues; received packets come in mbufs of `pool`. Can be repeated while
    /// stopped.
    ///
    /// # Errors
    /// [`PortError::Started`], [`PortError::Range`], or the driver's. The port then needs another `configure`
    /// before it can start.
    pub fn configure(&mut self, config: &PortConfig, pool: &Mempool) -> Result<PortGrants, PortError> {
        if self.core.state().started {
            return Err(PortError::Started(self.name.clone()));
        }
        self.queues = None;
        let info = control::raw_info(self.id()).map_err(|errno| self.fail("get device info", errno))?;
        self.in_range("rx_queues", config.rx_queues, 1, info.max_rx_queues)?;
        self.in_range("tx_queues", config.tx_queues, 1, info.max_tx_queues)?;
        if let Some(mtu) = config.mtu {
            self.in_range("mtu", mtu, info.min_mtu, info.max_mtu)?;
        }

        let rss = granted_rss(config, &info);
        let mut rx_offloads = config.rx_offloads;
        rx_offloads.set(RxOffloads::RSS_HASH, !rss.is_empty());
        // Ethernet header, two VLAN tags, and the frame check sequence that some devices deliver.
        const L2_OVERHEAD: u32 = 14 + 8 + 4;
        if config
            .mtu
            .is_some_and(|mtu| u32::from(mtu) + L2_OVERHEAD > u32::from(pool.data_room()))
        {
            rx_offloads |= RxOffloads::SCATTER;
        }
        let rx_offloads = rx_offloads & RxOffloads::from_bits_truncate(info.rx_offload_capa);
        let tx_offloads = config.tx_offloads & TxOffloads::from_bits_truncate(info.tx_offload_capa);

        // SAFETY: integers, null pointers, and unions of such: zero is the documented default.
        let mut raw: sys::rte_eth_conf = unsafe { std::mem::zeroed() };
        raw.rxmode.mtu = config.mtu.map_or(0, u32::from);
        raw.rxmode.offloads = rx_offloads.bits();
        raw.txmode.offloads = tx_offloads.bits();
        if !rss.is_empty() {
            raw.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
            raw.rx_adv_conf.rss_conf.rss_hf = rss.bits();
        }
        // SAFETY: stopped, so nobody polls; `raw` is readable and copied.
        let result =
            unsafe { sys::rte_eth_dev_configure(self.id(), config.rx_queues, config.tx_queues, &raw) };
        self.check("configure", result)?;
        let (rx_desc, tx_desc) = self.set_up_queues(config, pool)?;

        let mtu_applied = match config.mtu {
            None => true,
            Some(mtu) => self.granted(Port::set_mtu, mtu)?,
        };
        if config.promiscuous != self.promiscuous() {
            self.granted(Port::set_promiscuous, config.promiscuous)?;
        }
        if config.allmulticast != self.allmulticast() {
            self.granted(Port::set_allmulticast, config.allmulticast)?;
        }
        self.queues = Some((config.rx_queues, config.tx_queues));
        Ok(PortGrants {
            rx_desc,
            tx_desc,
            mtu: self.mtu()?,
            mtu_applied,
            promiscuous: self.promiscuous(),
            allmulticast: self.allmulticast(),
            rss,
            rx_offloads,
            tx_offloads,
        })
    }

    fn set_up_queues(&mut self, config: &PortConfig, pool: &Mempool) -> Result<(u16, u16), PortError> {
        let id = self.id();
        let (mut rx_desc, mut tx_desc) = (config.rx_desc, config.tx_desc);
        // SAFETY: both numbers are writable.
        let result = unsafe { sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &mut rx_desc, &mut tx_desc) };
        self.check("size queues", result)?;
        // SAFETY: takes any port number. -1, for none, is also DPDK's value for any.
        let socket = unsafe { sys::rte_eth_dev_socket_id(id) } as u32;
        for queue in 0..config.rx_queues {
            // SAFETY: configured and stopped; a null configuration is the default; the pool outlives the
            // port, since both hold the EAL and pools go with it.
            let result = unsafe {
                sys::rte_eth_rx_queue_setup(id, queue, rx_desc, socket, std::ptr::null(), pool.as_ptr())
            };
            self.check("set up receive queue", result)?;
        }
        for queue in 0..config.tx_queues {
            // SAFETY: as above.
            let result = unsafe { sys::rte_eth_tx_queue_setup(id, queue, tx_desc, socket, std::ptr::null()) };
            self.check("set up transmit queue", result)?;
        }
        Ok((rx_desc, tx_desc))
    }

    /// Whether the driver did it; a missing function is no error.
    fn granted<T>(
        &mut self,
        set: impl FnOnce(&mut Self, T) -> Result<(), PortError>,
        value: T,
    ) -> Result<bool, PortError> {
        match set(self, value) {
            Ok(()) => Ok(true),
            Err(error) if error.is_unsupported() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn in_range(&self, what: &'static str, asked: u16, least: u16, most: u16) -> Result<(), PortError> {
        if (least..=most).contains(&asked) {
            return Ok(());
        }
        let (asked, least, most) = (asked.into(), least.into(), most.into());
        Err(PortError::Range {
            port: self.name.clone(),
            what,
            asked,
            least,
            most,
        })
    }
}

/// RSS as far as the device lists it. Narrowing flags are passed as asked, since devices that can do them
/// often do not list them; one that cannot refuses or, documented as such, ignores them.
fn granted_rss(config: &PortConfig, info: &sys::rte_eth_dev_info) -> RssFields {
    let capable = RssFields::from_bits_truncate(info.flow_type_rss_offloads);
    let Some(asked) = config.rss else {
        return RssFields::empty();
    };
    let packets = asked & capable & !RssFields::NARROWING;
    if packets.is_empty() {
        packets
    } else {
        packets | (asked & RssFields::NARROWING)
    }
}
