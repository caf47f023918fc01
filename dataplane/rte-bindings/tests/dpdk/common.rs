//! The shared EAL and small helpers.

use std::sync::OnceLock;

use rte_bindings::{Eal, Mbuf, MbufBurst, Mempool, PoolConfig, current_affinity};

pub struct Shared {
    pub eal: Eal,
    pub affinity_before: Vec<usize>,
    pub affinity_after: Vec<usize>,
}

pub fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let affinity_before = current_affinity().unwrap();
        let args =
            "-l 0 --no-huge --no-shconf --no-pci --no-telemetry --iova-mode=va -m 1024 --vdev=net_null_start";
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        let eal = Eal::init(&args).unwrap();
        Shared {
            eal,
            affinity_before,
            affinity_after: current_affinity().unwrap(),
        }
    })
}

pub fn eal() -> &'static Eal {
    &shared().eal
}

pub fn pool(name: &str, count: u32) -> Mempool {
    let config = PoolConfig {
        name: name.to_owned(),
        count,
        cache: 0,
        priv_size: 64,
        data_room: 2048,
        socket: None,
    };
    Mempool::create(eal(), &config).unwrap()
}

/// A minimal Ethernet frame that says its number.
pub fn frame(number: u16) -> [u8; 60] {
    let mut frame = [0; 60];
    frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame[14..16].copy_from_slice(&number.to_be_bytes());
    frame
}

pub fn number(mbuf: &Mbuf) -> u16 {
    u16::from_be_bytes(mbuf.data()[14..16].try_into().unwrap())
}

pub fn numbers<const N: usize>(burst: &MbufBurst<N>) -> Vec<u16> {
    burst.iter().map(number).collect()
}

pub fn fill<const N: usize>(pool: &Mempool, burst: &mut MbufBurst<N>, range: std::ops::Range<u16>) {
    for n in range {
        let mut mbuf = pool.alloc().unwrap();
        mbuf.copy_from_slice(&frame(n)).unwrap();
        burst.push(mbuf).unwrap();
    }
}
