//! When everything has been given back, the last reference shuts DPDK down. In a binary of its own, since it
//! ends the process' one EAL.

#![forbid(unsafe_code)]

use rte_bindings::{Eal, EalError, Mempool, PoolConfig, Port, PortConfig, WorkerThread};

#[test]
fn the_last_reference_returns_the_memory() {
    let mapped_before = mapped_kib();
    let args = "-l 0 --no-huge --no-shconf --no-pci --no-telemetry --iova-mode=va -m 512";
    let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
    let eal = Eal::init(&args).unwrap();
    let config = PoolConfig {
        name: "pool".to_owned(),
        count: 511,
        cache: 32,
        priv_size: 0,
        data_room: 2048,
        socket: None,
    };
    let pool = Mempool::create(&eal, &config).unwrap();
    let mut port = Port::attach(&eal, "net_ring0").unwrap();
    port.configure(&PortConfig::default(), &pool).unwrap();
    port.start().unwrap();
    let for_worker = eal.clone();
    let workers_pool = pool.clone();
    std::thread::spawn(move || {
        let _worker = WorkerThread::register(&for_worker).unwrap();
        drop(workers_pool.alloc().unwrap());
    })
    .join()
    .unwrap();
    drop(pool.alloc().unwrap());
    drop(eal);
    assert!(
        mapped_kib() > mapped_before + 500 * 1024,
        "pool and port keep DPDK up"
    );
    drop((pool, port));
    assert!(
        mapped_kib() < mapped_before + 400 * 1024,
        "DPDK's 512 MiB are unmapped"
    );
    assert!(
        matches!(Eal::init(&args), Err(EalError::AlreadyInitialised)),
        "no second start"
    );
}

/// KiB of address space this process has mapped.
fn mapped_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmSize:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
