//! From the configuration to what the dataplane is made from: EAL's arguments, ports, interfaces, sizes.

use std::sync::Arc;

use rte_bindings::Hugepages as Reserve;
use tandem_dataplane::dataplane::{DataplaneSpec, InterfaceSpec, PortSpec};
use tandem_dataplane::routes::{MaxRoutes, ROUTE6_BYTES};
use tandem_dataplane::worker;
use tandem_engine::program::{InterfaceId, Program};

use super::replication;
use crate::config::{Attachment, Config, Hugepages, Idle, Interface, Placement, Port};

/// IPv4 routes there is room for when memory is no question: a full Internet table.
const MAX_ROUTES: u32 = 1 << 20;
/// IPv6 routes, likewise.
const MAX_ROUTES6: u32 = 1 << 18;
/// Least room for routes of either family.
const MIN_ROUTES: u32 = 4096;
/// What an empty FIB takes.
const FIB_BYTES: u64 = 64 << 20;
/// What a route takes: tree nodes and its share of the second-level tables.
const ROUTE_BYTES: u64 = 448;
/// A tag's bytes in a frame.
const TAG_BYTES: u16 = 4;

/// Why there is no specification.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum SpecError {
    /// Hugepages are required, and none is free.
    #[error(
        "dpdk.hugepages is \"required\", and no hugepage is free; reserve some (sysctl vm.nr_hugepages=512), or use \"auto\""
    )]
    NoHugepages,
    /// The program knows no such interface.
    #[error("interface {0} has no id")]
    NoId(String),
}

/// Memory for DPDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// Hugepages, so many bytes of them free.
    Huge(u64),
    /// Ordinary pages, so many MiB.
    Plain(u32),
}

/// Chooses memory. `auto` takes hugepages when at least `memory-mb` of them are free: with fewer, a start that would have
/// gone well on ordinary pages would fail.
pub(super) fn memory(config: &Config, reserves: &[Reserve]) -> Result<Memory, SpecError> {
    let free: u64 = reserves.iter().map(|r| r.size_kib * 1024 * r.free).sum();
    let wanted = u64::from(config.dpdk.memory_mb) << 20;
    match config.dpdk.hugepages {
        Hugepages::Never => Ok(Memory::Plain(config.dpdk.memory_mb)),
        Hugepages::Required if free == 0 => Err(SpecError::NoHugepages),
        Hugepages::Required => Ok(Memory::Huge(free)),
        Hugepages::Auto if free >= wanted => Ok(Memory::Huge(free)),
        Hugepages::Auto => Ok(Memory::Plain(config.dpdk.memory_mb)),
    }
}

/// Room for routes: IPv4's in 40 % of DPDK's memory, which leaves most of it to packets, IPv6's in ordinary memory, a sixteenth
/// as much. Full tables with 1.5 GiB and more.
pub(super) fn max_routes(memory: Memory) -> MaxRoutes {
    let bytes = match memory {
        Memory::Huge(bytes) => bytes,
        Memory::Plain(mib) => u64::from(mib) << 20,
    };
    let ipv4 = (bytes * 2 / 5).saturating_sub(FIB_BYTES) / ROUTE_BYTES;
    let ipv6 = bytes / 16 / ROUTE6_BYTES as u64;
    MaxRoutes {
        ipv4: ipv4.clamp(u64::from(MIN_ROUTES), u64::from(MAX_ROUTES)) as u32,
        ipv6: ipv6.clamp(u64::from(MIN_ROUTES), u64::from(MAX_ROUTES6)) as u32,
    }
}

/// EAL's arguments. No file outlives the process: `--in-memory` takes hugepages without names, and without hugepages nothing
/// is shared.
pub(super) fn eal_args(config: &Config, memory: Memory, cpus: &[usize]) -> Vec<String> {
    let mut args: Vec<String> = Vec::new();
    let cpus: Vec<String> = cpus.iter().map(usize::to_string).collect();
    // One lcore for EAL itself, on every CPU: workers choose theirs by themselves.
    args.push(format!("--lcores=0@({})", cpus.join(",")));
    match memory {
        Memory::Huge(_) => args.push("--in-memory".into()),
        Memory::Plain(mib) => {
            args.extend(["--no-huge", "--no-shconf", "-m"].map(String::from));
            args.push(mib.to_string());
        }
    }
    args.push("--no-telemetry".into());
    args.push(format!("--file-prefix={}", config.dpdk.file_prefix));
    let pci: Vec<String> = ports(config)
        .flat_map(|opened| opened.port.device.pci_addresses())
        .collect();
    if pci.is_empty() {
        args.push("--no-pci".into());
    }
    // Ordinary pages have no addresses for devices but virtual ones; and where no device needs physical ones, net_af_xdp
    // needs all buffers in one piece, which they are in this mode.
    if pci.is_empty() || matches!(memory, Memory::Plain(_)) {
        args.push("--iova-mode=va".into());
    }
    args.extend(pci.iter().map(|address| format!("--allow={address}")));
    args.extend(config.dpdk.extra_eal_args.iter().cloned());
    args
}

/// A port that DPDK opens.
pub(super) struct OpenedPort<'c> {
    /// The interface it belongs to: its own, or the redundant one that it is a member of.
    pub interface: &'c Interface,
    /// What it is.
    pub port: &'c Port,
    /// MAC address to set.
    pub mac: Option<[u8; 6]>,
}

/// The ports of a configuration, in its order, with their interfaces; of a redundant interface the primary member's, and then the
/// secondary's.
pub(super) fn ports(config: &Config) -> impl Iterator<Item = OpenedPort<'_>> {
    config
        .interfaces
        .iter()
        .flat_map(|interface| match &interface.attachment {
            Attachment::Port(port) => vec![OpenedPort {
                interface,
                port,
                mac: port.mac,
            }],
            Attachment::Redundant(redundant) => redundant
                .members
                .iter()
                .map(|member| OpenedPort {
                    interface,
                    port: &member.port,
                    mac: redundant.mac,
                })
                .collect(),
            Attachment::Vlan { .. } => Vec::new(),
        })
}

/// The interface that has the ports, and the VLAN on them: itself without one, or its parent.
pub(super) fn owner_of<'c>(
    config: &'c Config,
    interface: &'c Interface,
) -> Option<(&'c Interface, Option<u16>)> {
    match &interface.attachment {
        Attachment::Port(_) | Attachment::Redundant(_) => Some((interface, None)),
        Attachment::Vlan { parent, vlan } => {
            let owner = config.interfaces.iter().find(|one| one.name == *parent)?;
            Some((owner, Some(*vlan)))
        }
    }
}

/// Positions in [`ports`] of an interface's port or, of a redundant one, of both members'.
pub(super) fn positions(config: &Config, owner: &Interface) -> Vec<usize> {
    let of_owner = |(_, port): &(usize, OpenedPort<'_>)| port.interface.name == owner.name;
    ports(config)
        .enumerate()
        .filter(of_owner)
        .map(|(at, _)| at)
        .collect()
}

/// Whether the kernel keeps the device and sees it beside us.
pub(super) fn shares_netdev(port: &Port) -> bool {
    matches!(port.device.driver(), Some("net_af_xdp" | "net_af_packet"))
}

/// A MAC address beside a device's own: the same at every start, locally administered, and different from all that the
/// device's siblings would get.
pub(super) fn beside(mac: [u8; 6]) -> [u8; 6] {
    let [first, rest @ ..] = mac;
    let [a, b, c, d, e] = rest;
    [(first | 0x02) ^ 0x40, a, b, c, d, e]
}

/// The specification. `netdev_mac` tells the MAC address of a kernel device.
pub(super) fn build(
    config: &Config,
    program: &Arc<Program>,
    memory: Memory,
    cpus: &[usize],
    netdev_mac: impl Fn(&str) -> Option<[u8; 6]>,
) -> Result<DataplaneSpec, SpecError> {
    let mut interfaces = Vec::new();
    for interface in &config.interfaces {
        let missing = || SpecError::NoId(interface.name.clone());
        let id = id_of(program, &interface.name).ok_or_else(missing)?;
        let (owner, vlan) = owner_of(config, interface).ok_or_else(missing)?;
        let positions = positions(config, owner);
        let port = *positions.first().ok_or_else(missing)?;
        let opened = ports(config).nth(port).ok_or_else(missing)?;
        let own = || opened.port.netdev.as_deref().and_then(&netdev_mac).map(beside);
        interfaces.push(InterfaceSpec {
            id,
            name: interface.name.clone(),
            port,
            other_port: positions.get(1).copied(),
            vlan,
            mtu: interface.mtu,
            mac: match opened.mac {
                Some(mac) if shares_netdev(opened.port) || positions.len() > 1 => Some(mac),
                None if shares_netdev(opened.port) => own(),
                _ => None,
            },
        });
    }
    let ports = ports(config)
        .enumerate()
        .map(
            |(
                position,
                OpenedPort {
                    interface, port, mac, ..
                },
            )| {
                let tagged = interfaces
                    .iter()
                    .any(|i| (i.port == position || i.other_port == Some(position)) && i.vlan.is_some());
                let is_member = matches!(interface.attachment, Attachment::Redundant(_));
                PortSpec {
                    devargs: port.device.devargs(),
                    mtu: interface.mtu + if tagged { TAG_BYTES } else { 0 },
                    // A member need not be able to take its interface's address on.
                    mac: if shares_netdev(port) || is_member {
                        None
                    } else {
                        mac
                    },
                    promiscuous: port.promiscuous || shares_netdev(port),
                    rx_queues: port.rx_queues,
                    rx_descriptors: port.rx_descriptors,
                    tx_descriptors: port.tx_descriptors,
                }
            },
        )
        .collect();
    Ok(DataplaneSpec {
        eal_args: eal_args(config, memory, cpus),
        mbufs: config.dpdk.mbufs,
        workers: match &config.workers.placement {
            Placement::Cores(cores) => cores.iter().map(|core| Some(usize::from(*core))).collect(),
            Placement::Count(count) => vec![None; usize::from(*count)],
        },
        shards: Some(config.workers.shards),
        idle: match config.workers.idle {
            Idle::Adaptive => worker::Idle::Adaptive,
            Idle::BusyPoll => worker::Idle::BusyPoll,
        },
        ports,
        interfaces,
        sizes: config.table_sizes,
        max_routes: max_routes(memory),
        program: Arc::clone(program),
        replica_ring: replication::ring(config),
    })
}

/// The id of an interface in the program.
pub(super) fn id_of(program: &Program, name: &str) -> Option<InterfaceId> {
    program.interfaces.iter().find(|i| i.name == name).map(|i| i.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const TWO_PORTS: &str = r#"
[dpdk]
memory-mb = 512
file-prefix = "t1"
extra-eal-args = ["--log-level=lib.eal:7"]
[workers]
cores = [3, 5]
[interfaces.in0]
device = "net_af_xdp0,iface=eth1"
[interfaces.in7]
parent = "in0"
vlan = 7
mtu = 1400
[interfaces.out0]
device = "3b:00.0"
mac = "02:00:00:00:00:01"
"#;

    fn of(text: &str) -> (Config, Arc<Program>) {
        let config = config::parse(text, "test").expect("a right configuration");
        let program = config::compile(
            &config,
            &mut config::NameRegistry::new(),
            None,
            &config::Extras::default(),
        )
        .expect("a program");
        (config, Arc::new(program))
    }

    fn reserve(free: u64) -> Vec<Reserve> {
        vec![Reserve {
            size_kib: 2048,
            total: 1024,
            free,
        }]
    }

    #[test]
    fn hugepages_are_taken_when_they_suffice() {
        let (mut config, _) = of(TWO_PORTS);
        assert_eq!(
            memory(&config, &reserve(256)),
            Ok(Memory::Huge(512 << 20)),
            "just enough"
        );
        assert_eq!(memory(&config, &reserve(255)), Ok(Memory::Plain(512)));
        config.dpdk.hugepages = Hugepages::Never;
        assert_eq!(memory(&config, &reserve(1000)), Ok(Memory::Plain(512)));
        config.dpdk.hugepages = Hugepages::Required;
        assert_eq!(memory(&config, &reserve(1)), Ok(Memory::Huge(2 << 20)));
        assert_eq!(memory(&config, &[]), Err(SpecError::NoHugepages));
    }

    #[test]
    fn routes_get_a_share_of_the_memory() {
        let of = |ipv4, ipv6| MaxRoutes { ipv4, ipv6 };
        assert_eq!(max_routes(Memory::Plain(16)), of(MIN_ROUTES, MIN_ROUTES));
        let lab = max_routes(Memory::Plain(512));
        assert!((300_000..400_000).contains(&lab.ipv4), "{lab:?}");
        assert!((80_000..100_000).contains(&lab.ipv6), "{lab:?}");
        let full = of(MAX_ROUTES, MAX_ROUTES6);
        assert_eq!(max_routes(Memory::Plain(1536)), full);
        assert_eq!(max_routes(Memory::Huge(64 << 30)), full);
    }

    #[test]
    fn eal_gets_what_leaves_no_file_behind() {
        let (config, _) = of(TWO_PORTS);
        let plain = eal_args(&config, Memory::Plain(512), &[0, 1]);
        assert_eq!(
            plain,
            [
                "--lcores=0@(0,1)",
                "--no-huge",
                "--no-shconf",
                "-m",
                "512",
                "--no-telemetry",
                "--file-prefix=t1",
                "--iova-mode=va",
                "--allow=0000:3b:00.0",
                "--log-level=lib.eal:7"
            ]
        );
        let huge = eal_args(&config, Memory::Huge(1 << 30), &[0]);
        assert!(huge.contains(&"--in-memory".to_owned()) && !huge.contains(&"--no-huge".to_owned()));
        let (without_pci, _) = of("[interfaces.a]\ndevice = \"net_ring0\"\n");
        assert!(eal_args(&without_pci, Memory::Plain(64), &[0]).contains(&"--no-pci".to_owned()));
        // EAL has to probe what a bonding device puts together before there is one.
        let (bond, _) =
            of("[interfaces.a]\ndevice = \"net_bonding0,mode=4,slave=0000:3b:00.0,slave=0000:3b:00.1\"\n");
        let bond = eal_args(&bond, Memory::Huge(1 << 30), &[0]);
        assert!(!bond.contains(&"--no-pci".to_owned()));
        assert_eq!(
            bond[bond.len() - 2..],
            ["--allow=0000:3b:00.0", "--allow=0000:3b:00.1"]
        );
    }

    #[test]
    fn ports_and_vlans_become_interfaces() {
        let (config, program) = of(TWO_PORTS);
        let netdev = [0x52, 0x54, 0, 1, 2, 3];
        let mac = |name: &str| (name == "eth1").then_some(netdev);
        let spec = build(&config, &program, Memory::Plain(512), &[0], mac).expect("a specification");
        assert_eq!(spec.workers, [Some(3), Some(5)]);
        assert_eq!(spec.shards, Some(2), "as many as workers");
        let (more, program_of_more) = of(&TWO_PORTS.replacen("[workers]\n", "[workers]\nshards = 6\n", 1));
        let more = build(&more, &program_of_more, Memory::Plain(512), &[0], mac).expect("a specification");
        assert_eq!(more.shards, Some(6));
        let [xdp, pci] = &spec.ports[..] else {
            panic!("two ports: {:?}", spec.ports)
        };
        assert_eq!(
            (xdp.mtu, xdp.mac, xdp.promiscuous),
            (1504, None, true),
            "a tag more, and not the netdev's address"
        );
        assert_eq!((pci.mtu, pci.mac), (1500, Some([2, 0, 0, 0, 0, 1])));
        let seen: Vec<_> = spec
            .interfaces
            .iter()
            .map(|i| (i.name.as_str(), i.port, i.vlan, i.mtu, i.mac))
            .collect();
        let own = Some(beside(netdev));
        assert_eq!(
            seen,
            [
                ("in0", 0, None, 1500, own),
                ("in7", 0, Some(7), 1400, own),
                ("out0", 1, None, 1500, None)
            ]
        );
    }

    #[test]
    fn a_redundant_interface_has_two_ports_and_one_mac_address() {
        let text = r#"
[interfaces.eth1]
device = "net_af_packet0,iface=e1"
[interfaces.in0]
device = "net_ring0"
[interfaces.eth2]
device = "net_af_packet1,iface=e2"
[interfaces.red0]
members = ["eth1", "eth2"]
primary = "eth2"
[interfaces.red7]
parent = "red0"
vlan = 7
"#;
        let (config, program) = of(text);
        let mac = |name: &str| Some([2, 0, 0, 0, 0, name.as_bytes()[1]]);
        let spec = build(&config, &program, Memory::Plain(512), &[0], mac).expect("a specification");
        let devices: Vec<_> = spec
            .ports
            .iter()
            .map(|port| (port.devargs.as_str(), port.mtu))
            .collect();
        let wanted = [
            ("net_ring0", 1500),
            ("net_af_packet1,iface=e2", 1504),
            ("net_af_packet0,iface=e1", 1504),
        ];
        assert_eq!(devices, wanted, "the primary before the secondary");
        let own = Some(beside([2, 0, 0, 0, 0, b'2']));
        let seen: Vec<_> = spec
            .interfaces
            .iter()
            .map(|i| (i.name.as_str(), i.port, i.other_port, i.vlan, i.mac))
            .collect();
        assert_eq!(
            seen,
            [
                ("in0", 0, None, None, None),
                ("red0", 1, Some(2), None, own),
                ("red7", 1, Some(2), Some(7), own)
            ]
        );
    }

    #[test]
    fn members_take_their_interface_s_own_mac_address_on_only_if_they_can() {
        let text = "[interfaces.a]\ndevice = \"net_ring0\"\n[interfaces.b]\ndevice = \"net_ring1\"\n\
                    [interfaces.red]\nmembers = [\"a\", \"b\"]\nmac = \"02:00:00:00:00:05\"\n\
                    [interfaces.red7]\nparent = \"red\"\nvlan = 7\n";
        let (config, program) = of(text);
        let spec = build(&config, &program, Memory::Plain(512), &[0], |_| None).expect("a specification");
        let ports: Vec<_> = spec.ports.iter().map(|port| port.mac).collect();
        assert_eq!(ports, [None, None], "a driver that refuses would end the start");
        let interfaces: Vec<_> = spec.interfaces.iter().map(|one| one.mac).collect();
        assert_eq!(interfaces, [Some([2, 0, 0, 0, 0, 5]); 2]);
    }

    #[test]
    fn an_address_beside_another_is_local_unicast_and_another() {
        for mac in [
            [0, 1, 2, 3, 4, 5],
            [0x52, 0x54, 0, 0, 0, 1],
            [0xfe, 0, 0, 0, 0, 1],
        ] {
            let own = beside(mac);
            assert_ne!(own, mac);
            assert_eq!((own[0] & 1, own[0] & 2), (0, 2), "{own:02x?}");
        }
        assert_ne!(beside([0x52, 0x54, 0, 0, 0, 1]), beside([0x52, 0x54, 0, 0, 0, 2]));
    }
}
