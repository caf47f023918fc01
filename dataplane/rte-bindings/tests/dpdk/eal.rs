//! Start, threads, time.

use rte_bindings::{Eal, EalError, Mempool, PoolConfig, WorkerThread, tsc_cycles, tsc_hz, version};

use crate::common::{eal, shared};

#[test]
fn affinity_is_as_before_init() {
    let shared = shared();
    assert_eq!(shared.affinity_before, shared.affinity_after);
}

#[test]
fn second_init_is_refused() {
    shared();
    assert!(matches!(
        Eal::init(&["--no-huge".to_owned()]),
        Err(EalError::AlreadyInitialised)
    ));
}

#[test]
fn nul_in_argument_is_refused() {
    assert!(matches!(
        Eal::init(&["a\0b".to_owned()]),
        Err(EalError::Argument(_))
    ));
}

#[test]
fn time_passes_at_a_known_rate() {
    let hz = tsc_hz(eal());
    assert!((100_000_000..10_000_000_000).contains(&hz), "{hz}");
    let (start, wall) = (tsc_cycles(), std::time::Instant::now());
    while wall.elapsed().as_millis() < 20 {
        std::hint::spin_loop();
    }
    let seconds = (tsc_cycles() - start) as f64 / hz as f64;
    let ratio = seconds / wall.elapsed().as_secs_f64();
    assert!((0.9..1.1).contains(&ratio), "TSC against wall clock: {ratio}");
}

#[test]
fn version_names_dpdk() {
    assert!(version().starts_with("DPDK "), "{}", version());
}

#[test]
fn threads_get_lcores_and_leave_nothing_in_their_caches() {
    let config = PoolConfig {
        name: "threads".to_owned(),
        count: 255,
        cache: 64,
        priv_size: 0,
        data_room: 256,
        socket: None,
    };
    let pool = Mempool::create(eal(), &config).unwrap();
    let other = pool.clone();
    std::thread::spawn(move || {
        let worker = WorkerThread::register(eal()).unwrap();
        assert!(WorkerThread::register(eal()).is_err(), "registered twice");
        assert_ne!(worker.lcore_id(), u32::MAX);
        let held: Vec<_> = std::iter::from_fn(|| other.alloc()).take(10).collect();
        assert_eq!(held.len(), 10);
        drop(held);
    })
    .join()
    .unwrap();
    assert_eq!(pool.in_use(), 0);
    // Nothing is stranded in the cache of the thread that left: an unregistered thread gets every mbuf.
    let all: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
    assert_eq!(all.len(), 255);
}
