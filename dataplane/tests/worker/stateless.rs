//! Translation without sessions through a worker: addresses of one family stand for those of the other, prefixes for prefixes.
//! RFC 7915, RFC 7757, RFC 6296.

use std::sync::Arc;

use tandem_dataplane::routes::{Action, Way};
use tandem_engine::program::{Program, Stateless};
use tandem_wire::npt::Nptv6;
use tandem_wire::prefix::{Ipv4Prefix, Ipv6Prefix};
use tandem_wire::siit::{Eam, Siit};

use crate::frames::{ends, error, frame, open, packet, udp};
use crate::frames6::*;
use crate::plan::*;
use crate::plan6::*;
use crate::rig::{Options, Rig};

/// What stands for an IPv6 host, and for its neighbour.
const SHOWN: u32 = ip(203, 0, 117, 1);

fn program_with(stateless: Stateless) -> Program {
    let mut program = program();
    let set = &mut program.service_sets[0];
    set.terms.clear();
    set.stateless = vec![stateless];
    program
}

fn siit(workers: u8) -> Rig {
    let eam = Eam {
        v4: Ipv4Prefix::new(SHOWN & !15, 28).expect("a prefix"),
        v6: Ipv6Prefix::new(IN6 & !15, 124).expect("a prefix"),
    };
    let siit = Siit::new(vec![eam], Some(prefix64())).expect("a table");
    Rig::with(Options {
        workers,
        program: program_with(Stateless::Siit(siit)),
        ..Options::default()
    })
}

#[test]
fn an_ipv6_host_has_an_ipv4_address() {
    for workers in [1, 2] {
        let mut rig = siit(workers);
        // Nobody owns such packets: they stay with the worker that has them.
        let came = udp((OUT1, 53), (SHOWN, 7));
        let sent = rig.pass_one(P_OUT, &frame(P_OUT, came), P_IN);
        assert_eq!(
            (ends6(&sent), open(&sent).0),
            (((in64(OUT1), 53), (IN6, 7)), mac6(IN6))
        );
        let sent = rig.pass_one(P_IN, &frame6(P_IN, udp6((IN6, 7), (in64(OUT1), 53))), P_OUT);
        assert_eq!(ends(&sent), ((SHOWN, 7), (OUT1, 53)));
        assert_eq!(packet(&sent)[8], 63);
        assert_eq!((rig.count(|c| c.handed_over), rig.drops()), (0, vec![]));
        rig.finish();
    }
}

#[test]
fn what_grows_too_long_is_cut_or_its_sender_told() {
    let mut rig = siit(1);
    let data = [1; 1472];
    let large = udp((OUT1, 53), (SHOWN, 7)).data(&data);
    let told = error(&rig.pass_one(P_OUT, &frame(P_OUT, large), P_OUT));
    assert_eq!((told.to, told.kind, told.mtu), (OUT1, (3, 4), 1480));
    rig.sent.clear();
    rig.feed(P_OUT, &[frame(P_OUT, large.dont_fragment(false).id(77))]);
    assert_eq!(rig.sent.len(), 2, "{:?}", rig.drops());
    for s in &rig.sent {
        let (octets, meta) = packet6(&s.frame);
        assert!(octets.len() <= 1280);
        assert_eq!((meta.src, meta.dst, meta.fragment_id), (in64(OUT1), IN6, 77));
    }
    let dying = udp6((IN6, 7), (in64(OUT1), 53)).hop_limit(1);
    let told = error6(&rig.pass_one(P_IN, &frame6(P_IN, dying), P_IN));
    assert_eq!((told.to, told.kind), (IN6, (3, 0)));
    rig.finish();
}

#[test]
fn a_prefix_stands_for_another() {
    let outside = ip6([0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 0]);
    let prefix = |network| Ipv6Prefix::new(network, 48).expect("a prefix");
    let pair = Nptv6::new(prefix(subscriber6(0) & !0xffff), prefix(outside)).expect("a pair");
    let mut rig = Rig::with(Options {
        program: program_with(Stateless::Nptv6(pair)),
        ..Options::default()
    });
    let sent = rig.pass_one(P_IN, &frame6(P_IN, udp6((IN6, 7), (OUT6, 53))), P_OUT);
    let seen = pair.to_outside(IN6).expect("an address");
    assert_eq!(ends6(&sent), ((seen, 7), (OUT6, 53)));
    let sent = rig.pass_one(P_OUT, &frame6(P_OUT, udp6((OUT6, 53), (seen, 7))), P_IN);
    assert_eq!(ends6(&sent), ((OUT6, 53), (IN6, 7)));
    // A silent router: the sender is not told by an address that it does not know as its own.
    let silent = Action::Ways(vec![Way {
        interface: I_OUT,
        gateway: Some(std::net::Ipv6Addr::from_bits(ROUTER6 + 1).into()),
        weight: 1,
    }]);
    rig.routes
        .set6(OUT6 & !0xffff, 64, Arc::new(silent))
        .expect("a route");
    rig.routes.publish();
    rig.feed(P_IN, &[frame6(P_IN, udp6((IN6, 7), (OUT6, 53)))]);
    rig.sent.clear();
    rig.wait(40);
    assert!(rig.sent.is_empty());
    assert_eq!(rig.drops(), [("neighbour-unresolved", 1)]);
    rig.finish();
}

/// A translated packet for a host that only the kernel can reach gets a header of its new family.
#[test]
fn the_kernel_gets_a_header_that_fits() {
    let mut rig = siit(1);
    let kernels = Arc::new(Action::Kernel);
    rig.routes.set6(IN6 & !0xffff, 64, kernels).expect("a route");
    rig.routes.publish();
    rig.feed(P_OUT, &[frame(P_OUT, udp((OUT1, 53), (SHOWN, 7)))]);
    assert_eq!(rig.punted.len(), 1, "{:?}", rig.drops());
    assert_eq!(ends6(&rig.punted[0].frame), ((in64(OUT1), 53), (IN6, 7)));
    assert_eq!(
        (rig.punted[0].interface, open(&rig.punted[0].frame).0),
        (I_OUT, mac(P_OUT))
    );
    rig.finish();
}
