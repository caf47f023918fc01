//! An mbuf that outlives every handle stays valid: DPDK is then not shut down. In a binary of its own, since it
//! drops the process' one EAL.

#![forbid(unsafe_code)]

use rte_bindings::{Eal, Mempool, PoolConfig};

#[test]
fn an_mbuf_in_hand_keeps_its_memory() {
    let args = "-l 0 --no-huge --no-shconf --no-pci --no-telemetry --iova-mode=va -m 64";
    let eal = Eal::init(&args.split(' ').map(str::to_owned).collect::<Vec<_>>()).unwrap();
    let config = PoolConfig {
        name: "pool".to_owned(),
        count: 63,
        cache: 0,
        priv_size: 0,
        data_room: 2048,
        socket: None,
    };
    let pool = Mempool::create(&eal, &config).unwrap();
    let mut mbuf = pool.alloc().unwrap();
    mbuf.copy_from_slice(b"still here").unwrap();
    drop((eal, pool));
    assert_eq!(mbuf.data(), b"still here");
    mbuf.data_mut()[0] = b'S';
    assert_eq!(mbuf.data(), b"Still here");
    drop(mbuf);
}
