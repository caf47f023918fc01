//! Packet cases in folders: `dataplane/engine/cases`. Its README says what a case is and how to write one.
//!
//! The test only compares; what is expected is written by `cases/write.py`, by hand, with another program's checksums.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use tandem_engine::drop_reason::DropReason;
use tandem_engine::fragments::{Fragments, Meta, Offer, Released};
use tandem_engine::hash::HashKeys;
use tandem_engine::packet::{Desc, Side, Verdict};
use tandem_engine::program::{AddressRange, FilteringType, MappingType, NONE, PortAllocation};
use tandem_engine::ticks::Ticks;
use tandem_wire::l4::{Fragment, Ipv4Meta, parse_ipv4_verified};

use crate::common::plan::Plan;
use crate::common::world::World;

/// Octets of an Ethernet header; its sixth is the interface.
const ETHERNET: usize = 14;

/// A frame of a pcap file: when, and its octets.
type Frame = (Ticks, Vec<u8>);

/// Reads a pcap file of Ethernet frames (microseconds, little endian: what scapy and tcpdump write here).
fn read_pcap(path: &Path) -> Vec<Frame> {
    let file = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four octets"));
    assert_eq!(
        (word(0), word(20)),
        (0xa1b2_c3d4, 1),
        "{}: Ethernet, microseconds",
        path.display()
    );
    let mut frames = Vec::new();
    let mut at = 24;
    while at < file.len() {
        let (seconds, micros, length) = (word(at), word(at + 4), word(at + 8) as usize);
        frames.push((
            Ticks(seconds * 10 + micros / 100_000),
            file[at + 16..at + 16 + length].to_vec(),
        ));
        at += 16 + length;
    }
    frames
}

/// A case's configuration: the plan, and the drops that must happen.
fn configure(text: &str, plan: &mut Plan) -> BTreeMap<String, u64> {
    let mut drops = BTreeMap::new();
    let mapping = &mut MappingType::EndpointIndependent;
    let filtering = &mut FilteringType::EndpointIndependent;
    for line in text
        .lines()
        .map(|l| l.split('#').next().unwrap_or("").trim())
        .filter(|l| !l.is_empty())
    {
        let (key, value) = line.split_once('=').expect("key = value");
        let (key, value) = (key.trim(), value.trim());
        let range = || value.split_once('-').expect("first-last");
        match key {
            "pool" => {
                let address = |text: &str| u32::from(text.parse::<Ipv4Addr>().expect("an address"));
                plan.pool().addresses = vec![AddressRange {
                    first: address(range().0),
                    last: address(range().1),
                }];
            }
            "ports" => plan.ports(
                range().0.parse().expect("a port"),
                range().1.parse().expect("a port"),
            ),
            "mapping" => {
                *mapping = match value {
                    "endpoint-independent" => MappingType::EndpointIndependent,
                    "address-and-port-dependent" => MappingType::AddressAndPortDependent,
                    other => panic!("mapping {other}"),
                }
            }
            "filtering" => {
                *filtering = match value {
                    "endpoint-independent" => FilteringType::EndpointIndependent,
                    "address-dependent" => FilteringType::AddressDependent,
                    "address-and-port-dependent" => FilteringType::AddressAndPortDependent,
                    other => panic!("filtering {other}"),
                }
            }
            "mss-clamp" => plan.set().tcp.mss_clamp = value.parse().expect("octets"),
            "drop" => {
                let (reason, count) = value.split_once(' ').expect("reason count");
                drops.insert(reason.to_owned(), count.trim().parse().expect("a number"));
            }
            other => panic!("no such key: {other}"),
        }
    }
    plan.pool().port_allocation = PortAllocation::Sequential;
    plan.behaviour(*mapping, *filtering);
    drops
}

/// A world and the fragment store before it, as a worker has them.
struct Bench {
    world: World,
    fragments: Fragments<(u16, Vec<u8>)>,
    left: Vec<Frame>,
}

impl Bench {
    fn enter(&mut self, meta: Ipv4Meta, interface: u16, packet: Vec<u8>, ports: Option<(u16, u16)>) {
        let mut desc = Desc::new(meta, interface, self.world.side(interface));
        if let Some(ports) = ports {
            (desc.sport, desc.dport) = ports;
        }
        let got = self.world.run(vec![packet], vec![desc]).remove(0);
        if got.verdict == Verdict::Forward {
            let mut frame = vec![2, 0, 0, 0, 0, got.interface.expect("an interface") as u8];
            frame.extend_from_slice(&[2, 0, 0, 0, 0, 0x99, 8, 0]);
            frame.extend_from_slice(&got.packet);
            self.left.push((self.world.now, frame));
        }
    }

    fn arrive(&mut self, interface: u16, packet: Vec<u8>) {
        let meta = parse_ipv4_verified(&packet).expect("cases send packets that parse");
        if meta.fragment == Fragment::None {
            return self.enter(meta, interface, packet, None);
        }
        let realm = if let Side::Inside(set) = self.world.side(interface) {
            set
        } else {
            NONE
        };
        match self
            .fragments
            .offer(self.world.now, &meta, realm, (interface, packet))
        {
            Offer::Pass {
                packet: (interface, packet),
                transport,
            } => self.enter(meta, interface, packet, Some((transport.sport, transport.dport))),
            Offer::Held => {}
            Offer::Drop(_, reason) => self.world.drops.count(reason),
        }
        while let Some(Released {
            packet: (interface, packet),
            meta,
            transport,
        }) = self.fragments.released()
        {
            let Meta::V4(meta) = meta else {
                panic!("only IPv4 packets were offered");
            };
            self.enter(meta, interface, packet, Some((transport.sport, transport.dport)));
        }
    }
}

fn run(folder: &Path) {
    let text = std::fs::read_to_string(folder.join("case.conf")).expect("case.conf");
    let mut drops = BTreeMap::new();
    let world = World::new(1, |plan| drops = configure(&text, plan));
    let fragments =
        Fragments::new(&world.plan.sizes, Ticks::from_seconds(2), HashKeys::new(1)).expect("memory");
    let mut bench = Bench {
        world,
        fragments,
        left: Vec::new(),
    };
    let start = bench.world.now;
    for (at, frame) in read_pcap(&folder.join("send.pcap")) {
        let passed = start.plus(at).since(bench.world.now);
        bench.world.pass(passed);
        bench.arrive(u16::from(frame[5]), frame[ETHERNET..].to_vec());
    }
    let expected = read_pcap(&folder.join("expect.pcap"));
    for (n, ((_, left), (_, wanted))) in bench.left.iter().zip(&expected).enumerate() {
        assert_eq!(left, wanted, "frame {} of {}", n + 1, folder.display());
    }
    assert_eq!(
        bench.left.len(),
        expected.len(),
        "frames that leave: {}",
        folder.display()
    );
    let counted: BTreeMap<String, u64> = DropReason::ALL
        .iter()
        .map(|r| (r.as_str().to_owned(), bench.world.drops.get(*r)))
        .filter(|(_, n)| *n > 0)
        .collect();
    assert_eq!(counted, drops, "drops of {}", folder.display());
}

#[test]
fn every_packet_case_comes_out_as_expected() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(cases)
        .expect("cases")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.is_dir())
        .collect();
    folders.sort();
    assert!(folders.len() >= 8, "cases are missing");
    for folder in folders {
        run(&folder);
    }
}
