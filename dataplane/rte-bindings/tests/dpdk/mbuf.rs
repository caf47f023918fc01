//! Mbufs, bursts and pools.

use rte_bindings::{
    Checksum, HEADROOM, L3Checksum, L4Checksum, MbufBurst, Mempool, NoRoom, PoolConfig, PoolError,
    PoolExhausted, TxChecksum,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::common::{eal, fill, numbers, pool};

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Debug, PartialEq)]
#[repr(C)]
struct Note {
    session: u64,
    stage: u32,
    spare: u32,
}

/// net_af_xdp tells the kernel "number of buffers times size of one" from the first on: a gap before a page border would
/// leave the last buffers out, and each that is then used is lost.
#[test]
fn buffers_lie_side_by_side_without_gaps() {
    const COUNT: usize = 1000;
    let pool = pool("side-by-side", COUNT as u32);
    let all: Vec<_> = (0..COUNT).map(|_| pool.alloc().unwrap()).collect();
    let mut places: Vec<usize> = all.iter().map(|mbuf| mbuf.data().as_ptr() as usize).collect();
    places.sort_unstable();
    let stride = places[1] - places[0];
    assert!(stride > 2048 && places.windows(2).all(|pair| pair[1] - pair[0] == stride));
}

#[test]
fn a_mark_stays_with_its_packet_and_goes_with_its_buffer() {
    let pool = pool("marks", 1);
    let mut mbuf = pool.alloc().unwrap();
    assert!(!mbuf.is_marked());
    mbuf.set_marked(true);
    mbuf.append(64).unwrap();
    mbuf.forget_rx();
    mbuf.clear_tx_offload();
    let mut burst = MbufBurst::<4>::default();
    burst.push(mbuf).unwrap();
    let mut mbuf = burst.drain().next().unwrap();
    assert!(mbuf.is_marked());
    mbuf.set_marked(false);
    assert!(!mbuf.is_marked());
    mbuf.set_marked(true);
    drop(mbuf);
    // The pool has one buffer: this is the same one.
    assert!(!pool.alloc().unwrap().is_marked());
}

#[test]
fn length_changes_keep_the_books() {
    let pool = pool("lengths", 7);
    let mut mbuf = pool.alloc().unwrap();
    assert_eq!(
        (mbuf.pkt_len(), mbuf.data_len(), mbuf.headroom(), mbuf.nb_segs()),
        (0, 0, HEADROOM, 1)
    );
    assert_eq!(mbuf.tailroom(), 2048);

    mbuf.append(4).unwrap().copy_from_slice(b"data");
    mbuf.prepend(4).unwrap().copy_from_slice(b"head");
    assert_eq!(mbuf.data(), b"headdata");
    assert_eq!((mbuf.pkt_len(), mbuf.headroom()), (8, HEADROOM - 4));
    mbuf.adj(2).unwrap();
    mbuf.trim(3).unwrap();
    assert_eq!(mbuf.data(), b"add");
    mbuf.data_mut()[0] = b'o';
    assert_eq!(mbuf.data(), b"odd");

    assert_eq!(mbuf.adj(4), Err(NoRoom));
    assert_eq!(mbuf.trim(4), Err(NoRoom));
    assert_eq!(mbuf.prepend(HEADROOM).map(|_| ()), Err(NoRoom));
    assert_eq!(mbuf.append(u16::MAX).map(|_| ()), Err(NoRoom));
    assert_eq!(mbuf.copy_from_slice(&[0; 2049]), Err(NoRoom));
    assert_eq!(
        (mbuf.data(), mbuf.pkt_len()),
        (&b"odd"[..], 3),
        "refusals change nothing"
    );

    mbuf.copy_from_slice(&[7; 2048]).unwrap();
    assert_eq!((mbuf.pkt_len(), mbuf.tailroom()), (2048, 0));
    mbuf.reset();
    assert_eq!((mbuf.pkt_len(), mbuf.headroom()), (0, HEADROOM));
    drop(mbuf);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn chains_are_linearized_copied_and_freed() {
    let pool = pool("chains", 7);
    let part = |bytes: &[u8]| {
        let mut mbuf = pool.alloc().unwrap();
        mbuf.copy_from_slice(bytes).unwrap();
        mbuf
    };
    let mut mbuf = part(b"one ");
    let mut tail = part(b"two ");
    tail.chain(part(b"three")).unwrap();
    mbuf.chain(tail).unwrap();
    assert_eq!((mbuf.nb_segs(), mbuf.pkt_len(), mbuf.data_len()), (3, 13, 4));
    assert!(!mbuf.is_contiguous());
    assert_eq!(
        mbuf.segments().collect::<Vec<_>>(),
        [&b"one "[..], b"two ", b"three"]
    );

    mbuf.append(1).unwrap()[0] = b'!';
    let mut out = [0; 14];
    assert_eq!(mbuf.copy_to_slice(&mut out), 14);
    assert_eq!(&out, b"one two three!");
    assert_eq!(mbuf.copy_to_slice(&mut out[..6]), 6);

    let copy = mbuf.copy(&pool).unwrap();
    assert_eq!((copy.data(), copy.nb_segs()), (&b"one two three!"[..], 1));
    mbuf.linearize().unwrap();
    assert_eq!((mbuf.data(), mbuf.nb_segs()), (&b"one two three!"[..], 1));
    assert_eq!(pool.in_use(), 2);

    mbuf.copy_from_slice(&[1; 2048]).unwrap();
    mbuf.chain(part(b"x")).unwrap();
    assert!(mbuf.linearize().is_err(), "no tailroom");
    assert_eq!((mbuf.nb_segs(), mbuf.pkt_len()), (2, 2049));
    mbuf.reset();
    assert_eq!(pool.in_use(), 2, "reset frees the tail");
    drop((mbuf, copy));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn private_area_is_checked_and_stays() {
    let pool = pool("private", 1);
    let mut mbuf = pool.alloc().unwrap();
    let note = Note {
        session: u64::MAX,
        stage: 3,
        spare: 0,
    };
    mbuf.copy_from_slice(b"payload").unwrap();
    *mbuf.priv_mut::<Note>().unwrap() = Note { ..note };
    mbuf.prepend(HEADROOM).unwrap().fill(0xff);
    assert_eq!(
        mbuf.priv_ref::<Note>(),
        Some(&note),
        "headroom and private area do not overlap"
    );
    assert!(mbuf.priv_ref::<[u8; 64]>().is_some());
    assert!(mbuf.priv_ref::<[u8; 65]>().is_none());
    assert!(mbuf.priv_mut::<[u64; 9]>().is_none());
    assert!(mbuf.priv_ref::<u128>().is_none(), "over-aligned");
}

#[test]
fn offload_requests_and_reports() {
    let pool = pool("offload", 1);
    let mut mbuf = pool.alloc().unwrap();
    assert_eq!(
        (mbuf.rx_ip_checksum(), mbuf.rx_l4_checksum()),
        (Checksum::Unknown, Checksum::Unknown)
    );
    assert_eq!(
        (mbuf.rss_hash(), mbuf.stripped_vlan_tci(), mbuf.port()),
        (None, None, u16::MAX)
    );
    let request = TxChecksum {
        l2_len: 14,
        l3_len: 20,
        l3: L3Checksum::Ipv4,
        l4: L4Checksum::Udp,
    };
    assert!(mbuf.set_tx_checksum(request));
    // RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_IPV4
    assert_eq!(mbuf.ol_flags(), 3 << 52 | 1 << 54 | 1 << 55);
    assert!(mbuf.set_tx_checksum(TxChecksum {
        l3: L3Checksum::Ipv6,
        l4: L4Checksum::Tcp,
        ..request
    }));
    assert_eq!(
        mbuf.ol_flags(),
        1 << 52 | 1 << 56,
        "an earlier request is replaced"
    );
    assert!(!mbuf.set_tx_checksum(TxChecksum {
        l3_len: 512,
        ..request
    }));
    assert!(!mbuf.set_tx_checksum(TxChecksum {
        l2_len: 128,
        ..request
    }));
    mbuf.set_vlan_insert(42);
    assert_eq!(mbuf.ol_flags(), 1 << 52 | 1 << 56 | 1 << 57);
    mbuf.clear_tx_offload();
    assert_eq!(mbuf.ol_flags(), 0);
}

#[test]
fn pool_runs_out_and_recovers() {
    let pool = pool("exhausted", 100);
    let mut burst = MbufBurst::<64>::new();
    pool.alloc_burst(&mut burst, 60).unwrap();
    assert_eq!((burst.len(), pool.in_use(), pool.available()), (60, 60, 40));
    assert_eq!(
        pool.alloc_burst(&mut burst, 5),
        Err(PoolExhausted),
        "no room in the burst"
    );
    let mut second = MbufBurst::<64>::new();
    assert_eq!(
        pool.alloc_burst(&mut second, 41),
        Err(PoolExhausted),
        "all or none"
    );
    assert_eq!((second.len(), pool.available()), (0, 40));
    pool.alloc_burst(&mut second, 40).unwrap();
    assert!(pool.alloc().is_none());
    drop(burst);
    second.clear();
    assert_eq!((second.len(), pool.in_use()), (0, 0));
}

#[test]
fn bursts_move_without_loss() {
    let pool = pool("bursts", 127);
    let mut a = MbufBurst::<8>::new();
    fill(&pool, &mut a, 0..8);
    assert!(a.is_full());
    let extra = a.push(pool.alloc().unwrap());
    assert!(extra.is_err(), "a full burst gives the mbuf back");
    drop(extra);
    assert_eq!(
        pool.alloc_burst(&mut a, 0),
        Ok(()),
        "nothing fits into a full burst"
    );

    let mut odd = MbufBurst::<3>::new();
    assert_eq!(
        a.move_if(&mut odd, |m| m.data()[15] % 2 == 1),
        3,
        "as many as have room"
    );
    assert_eq!((numbers(&odd), numbers(&a)), (vec![1, 3, 5], vec![0, 2, 4, 6, 7]));
    assert_eq!(a.swap_remove(0).map(|m| m.data()[15]), Some(0));
    assert_eq!(numbers(&a), [7, 2, 4, 6]);
    assert!(a.swap_remove(4).is_none());
    a.retain(|m| m.data()[15] != 2);
    assert_eq!(numbers(&a), [7, 4, 6]);
    assert_eq!(pool.in_use(), 6);

    assert_eq!(a.append(&mut odd), 3);
    assert_eq!((numbers(&a), odd.len()), (vec![7, 4, 6, 1, 3, 5], 0));
    let mut small = MbufBurst::<2>::new();
    assert_eq!(small.append(&mut a), 2);
    assert_eq!((numbers(&small), numbers(&a)), (vec![7, 4], vec![6, 1, 3, 5]));
    assert_eq!(a.pop().map(|m| m.data()[15]), Some(5));

    let mut drained = a.drain();
    assert_eq!(drained.len(), 3);
    assert_eq!(drained.next().map(|m| m.data()[15]), Some(6));
    drop(drained);
    assert_eq!((a.len(), pool.in_use()), (0, 2), "what was not drained is freed");
    drop(small);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_panic_while_picking_frees_nothing_twice() {
    let pool = pool("panic", 15);
    let mut a = MbufBurst::<8>::new();
    let mut b = MbufBurst::<8>::new();
    fill(&pool, &mut a, 0..4);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        a.move_if(
            &mut b,
            |m| if m.data()[15] == 2 { panic!("picker") } else { true },
        );
    }));
    assert!(result.is_err());
    assert_eq!((a.len(), b.len()), (0, 2));
    drop((a, b));
    assert_eq!(pool.in_use(), 2, "the panic leaked what was not moved");
}

#[test]
fn bad_pools_are_refused() {
    let good = PoolConfig {
        name: "bad".to_owned(),
        count: 15,
        cache: 0,
        priv_size: 0,
        data_room: 128,
        socket: None,
    };
    let create = |change: fn(&mut PoolConfig)| {
        let mut config = good.clone();
        change(&mut config);
        Mempool::create(eal(), &config).map(|_| ())
    };
    assert!(matches!(
        create(|c| c.count = 0),
        Err(PoolError::Range { what: "count", .. })
    ));
    assert!(matches!(
        create(|c| c.cache = 11),
        Err(PoolError::Range { what: "cache", .. })
    ));
    assert!(matches!(
        create(|c| c.priv_size = 12),
        Err(PoolError::Range {
            what: "priv_size",
            ..
        })
    ));
    assert!(matches!(
        create(|c| c.data_room = 65500),
        Err(PoolError::Range {
            what: "data_room",
            ..
        })
    ));
    assert!(matches!(create(|c| c.name.clear()), Err(PoolError::Name(_))));
    assert!(matches!(
        create(|c| c.name = "x".repeat(60)),
        Err(PoolError::Name(_))
    ));
    create(|_| ()).unwrap();
    assert!(
        matches!(create(|_| ()), Err(PoolError::Create { .. })),
        "the name is taken"
    );
}
