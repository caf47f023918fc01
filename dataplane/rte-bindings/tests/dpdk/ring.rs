//! Hand-over between threads.

use std::time::{Duration, Instant};

use rte_bindings::{MbufBurst, RingError, mpsc_ring, spsc_ring};

use crate::common::{eal, fill, numbers, pool};

#[test]
fn a_full_ring_leaves_the_rest() {
    let pool = pool("ring_full", 31);
    let (mut tx, mut rx) = spsc_ring(eal(), "full", 8, None).unwrap();
    assert_eq!((tx.capacity(), tx.free_count(), rx.count()), (7, 7, 0));
    let mut burst = MbufBurst::<16>::new();
    fill(&pool, &mut burst, 0..10);
    assert_eq!(tx.enqueue_burst(&mut burst), 7);
    assert_eq!(numbers(&burst), [7, 8, 9]);
    let mut out = MbufBurst::<4>::new();
    assert_eq!(rx.dequeue_burst(&mut out), 4);
    assert_eq!(numbers(&out), [0, 1, 2, 3]);
    assert_eq!(rx.dequeue_burst(&mut out), 0, "the burst is full");
    drop((burst, out));
    assert_eq!((rx.count(), pool.in_use()), (3, 3));
    drop(tx);
    assert_eq!(pool.in_use(), 3);
    drop(rx);
    assert_eq!(pool.in_use(), 0, "the ring frees what is left in it");
}

#[test]
fn bad_rings_are_refused() {
    assert!(matches!(
        spsc_ring(eal(), "size", 12, None),
        Err(RingError::Size { .. })
    ));
    assert!(matches!(
        spsc_ring(eal(), "size", 1, None),
        Err(RingError::Size { .. })
    ));
    assert!(matches!(
        spsc_ring(eal(), "a\0b", 8, None),
        Err(RingError::Create { .. })
    ));
    let _kept = spsc_ring(eal(), "twice", 8, None).unwrap();
    assert!(matches!(
        spsc_ring(eal(), "twice", 8, None),
        Err(RingError::Create { .. })
    ));
}

#[test]
fn two_threads_hand_over_in_order() {
    const TOTAL: u16 = 20_000;
    let pool = pool("ring_threads", 511);
    let (mut tx, mut rx) = spsc_ring(eal(), "threads", 64, None).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    let from = pool.clone();
    let sender = std::thread::spawn(move || {
        let mut next = 0;
        let mut burst = MbufBurst::<32>::new();
        while next < TOTAL || !burst.is_empty() {
            assert!(Instant::now() < end);
            let n = (burst.free() as u16).min(TOTAL - next);
            fill(&from, &mut burst, next..next + n);
            next += n;
            if tx.enqueue_burst(&mut burst) == 0 {
                std::thread::yield_now();
            }
        }
    });
    let mut expect = 0;
    let mut burst = MbufBurst::<48>::new();
    while expect < TOTAL {
        assert!(Instant::now() < end);
        if rx.dequeue_burst(&mut burst) == 0 {
            std::thread::yield_now();
        }
        for n in numbers(&burst) {
            assert_eq!(n, expect);
            expect += 1;
        }
        burst.clear();
    }
    sender.join().unwrap();
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn several_producers_lose_nothing() {
    const EACH: u16 = 5_000;
    let pool = pool("ring_mp", 511);
    let (tx, mut rx) = mpsc_ring(eal(), "producers", 64, None).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    let senders: Vec<_> = (0..3u16)
        .map(|id| {
            let (mut tx, from) = (tx.clone(), pool.clone());
            std::thread::spawn(move || {
                let mut burst = MbufBurst::<8>::new();
                for n in 0..EACH {
                    fill(&from, &mut burst, id * EACH + n..id * EACH + n + 1);
                    while tx.enqueue_burst(&mut burst) == 0 {
                        assert!(Instant::now() < end);
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut next = [0, EACH, 2 * EACH];
    let mut burst = MbufBurst::<32>::new();
    while next != [EACH, 2 * EACH, 3 * EACH] {
        assert!(Instant::now() < end);
        rx.dequeue_burst(&mut burst);
        for n in numbers(&burst) {
            let of = &mut next[usize::from(n / EACH)];
            assert_eq!(n, *of, "in order per producer");
            *of += 1;
        }
        burst.clear();
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    assert_eq!(pool.in_use(), 0);
}
