//! Memory at its limits: a pool too large is refused and takes nothing, and an mbuf that outlives every
//! handle stays valid, since DPDK is then not shut down. In a binary of its own, because it uses all of
//! DPDK's memory and drops the process' one EAL.

#![forbid(unsafe_code)]

use rte_bindings::{Eal, Mempool, PoolConfig, PoolError, heap_usage};

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
    let before = heap_usage(&eal, 0).unwrap();
    assert!((60 << 20..=64 << 20).contains(&before.total), "{before:?}");
    let huge = PoolConfig {
        name: "huge".to_owned(),
        count: 1 << 20,
        ..config.clone()
    };
    assert!(matches!(
        Mempool::create(&eal, &huge),
        Err(PoolError::Create { count: 0x10_0000, .. })
    ));
    assert_eq!(
        heap_usage(&eal, 0).unwrap().allocated,
        before.allocated,
        "a refused pool takes nothing"
    );
    assert_eq!(heap_usage(&eal, 99), None);

    let pool = Mempool::create(&eal, &config).unwrap();
    let after = heap_usage(&eal, 0).unwrap();
    assert!(
        after.allocated > before.allocated + 63 * 2048,
        "{before:?} {after:?}"
    );
    let mut mbuf = pool.alloc().unwrap();
    mbuf.copy_from_slice(b"still here").unwrap();
    drop((eal, pool));
    assert_eq!(mbuf.data(), b"still here");
    mbuf.data_mut()[0] = b'S';
    assert_eq!(mbuf.data(), b"Still here");
    drop(mbuf);
}
