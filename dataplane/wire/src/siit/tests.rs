use super::*;
use core::net::{Ipv4Addr, Ipv6Addr};
use proptest::prelude::*;

fn eam(v4: &str, v6: &str) -> Eam {
    Eam {
        v4: v4.parse().unwrap(),
        v6: v6.parse().unwrap(),
    }
}

fn v4(text: &str) -> u32 {
    text.parse::<Ipv4Addr>().unwrap().into()
}

fn v6(text: &str) -> u128 {
    text.parse::<Ipv6Addr>().unwrap().into()
}

/// Mappings of the kinds RFC 7757 shows: hosts, as long suffixes, longer ones behind the IPv6 prefix, and one inside a
/// NAT64 prefix.
fn table() -> Vec<Eam> {
    vec![
        eam("192.0.2.1/32", "2001:db8:aaaa::/128"),
        eam("192.0.2.2/32", "2001:db8:bbbb::b/128"),
        eam("192.0.2.16/28", "2001:db8:cccc::/124"),
        eam("192.0.2.128/26", "2001:db8:dddd::/64"),
        eam("192.0.2.192/29", "2001:db8:eeee:8::/62"),
        eam("192.0.2.224/31", "64:ff9b::/127"),
    ]
}

#[test]
fn suffixes_are_copied_behind_the_prefix() {
    let siit = Siit::new(table(), None).unwrap();
    for (four, six) in [
        ("192.0.2.1", "2001:db8:aaaa::"),
        ("192.0.2.2", "2001:db8:bbbb::b"),
        ("192.0.2.16", "2001:db8:cccc::"),
        ("192.0.2.24", "2001:db8:cccc::8"),
        ("192.0.2.31", "2001:db8:cccc::f"),
        ("192.0.2.128", "2001:db8:dddd::"),
        ("192.0.2.152", "2001:db8:dddd:0:6000::"),
        ("192.0.2.183", "2001:db8:dddd:0:dc00::"),
        ("192.0.2.191", "2001:db8:dddd:0:fc00::"),
        ("192.0.2.195", "2001:db8:eeee:9:8000::"),
        ("192.0.2.199", "2001:db8:eeee:b:8000::"),
        ("192.0.2.225", "64:ff9b::1"),
    ] {
        assert_eq!(siit.to_v6(v4(four)), Some(v6(six)), "{four}");
        assert_eq!(siit.to_v4(v6(six)), Some(v4(four)), "{six}");
    }
    // What is behind the suffix is ignored.
    assert_eq!(
        siit.to_v4(v6("2001:db8:dddd:0:dfff:ffff:ffff:ffff")),
        Some(v4("192.0.2.183"))
    );
    for none in [
        "192.0.2.0",
        "192.0.2.3",
        "192.0.2.32",
        "192.0.2.200",
        "192.0.2.226",
    ] {
        assert_eq!(siit.to_v6(v4(none)), None, "{none}");
    }
    for none in ["::", "2001:db8:aaaa::1", "2001:db8:cccc::10", "64:ff9b::2"] {
        assert_eq!(siit.to_v4(v6(none)), None, "{none}");
    }
    assert!(siit.eams().copied().eq(table()) && siit.prefix().is_none());
}

#[test]
fn the_prefix_is_for_all_others() {
    let siit = Siit::new(table(), Some(Prefix64::WELL_KNOWN)).unwrap();
    assert_eq!(siit.to_v6(v4("198.51.100.1")), Some(v6("64:ff9b::198.51.100.1")));
    assert_eq!(siit.to_v4(v6("64:ff9b::198.51.100.1")), Some(v4("198.51.100.1")));
    assert_eq!(siit.to_v4(v6("64:ff9b::1")), Some(v4("192.0.2.225")));
    assert_eq!(siit.to_v6(v4("192.0.2.1")), Some(v6("2001:db8:aaaa::")));
    assert_eq!(siit.to_v4(v6("2001:db8::1")), None);
    assert_eq!(Siit::default().to_v6(1), None);
    assert_eq!(Siit::default().to_v4(1), None);
}

#[test]
fn overlapping_mappings_go_by_the_longest_prefix_of_the_side_that_is_asked() {
    let siit = Siit::new(
        vec![
            eam("198.51.100.0/24", "2001:db8::/120"),
            eam("198.51.100.8/32", "2001:db8:1::8/128"),
            eam("203.0.113.8/32", "2001:db8::8/128"),
        ],
        None,
    )
    .unwrap();
    assert_eq!(siit.to_v6(v4("198.51.100.7")), Some(v6("2001:db8::7")));
    assert_eq!(siit.to_v6(v4("198.51.100.8")), Some(v6("2001:db8:1::8")));
    assert_eq!(siit.to_v6(v4("198.51.100.9")), Some(v6("2001:db8::9")));
    assert_eq!(siit.to_v4(v6("2001:db8::8")), Some(v4("203.0.113.8")));
    assert_eq!(siit.to_v4(v6("2001:db8::9")), Some(v4("198.51.100.9")));
}

#[test]
fn whole_families_and_their_ends() {
    let siit = Siit::new(
        vec![
            eam("0.0.0.0/0", "2001:db8::/96"),
            eam("255.255.255.255/32", "::/0"),
            eam("255.255.255.0/24", "ffff::/16"),
        ],
        None,
    )
    .unwrap();
    assert_eq!(siit.to_v6(0), Some(v6("2001:db8::")));
    assert_eq!(siit.to_v6(u32::MAX), Some(0));
    assert_eq!(siit.to_v6(u32::MAX - 1), Some(v6("ffff:fe00::")));
    assert_eq!(siit.to_v4(u128::MAX), Some(u32::MAX));
    assert_eq!(siit.to_v4(v6("2001:db8::1.2.3.4")), Some(v4("1.2.3.4")));
    assert_eq!(siit.to_v4(1), Some(u32::MAX));
}

#[test]
fn refusals() {
    let long = eam("192.0.2.0/24", "2001:db8::/121");
    assert_eq!(Siit::new(vec![long], None), Err(SiitError::Suffix(long)));
    let one = eam("192.0.2.0/24", "2001:db8::/120");
    let same4 = eam("192.0.2.0/24", "2001:db8:1::/120");
    let same6 = eam("192.0.3.0/24", "2001:db8::/120");
    let other = eam("0.0.0.0/8", "2001::/96");
    assert_eq!(
        Siit::new(vec![one, other, same4], None),
        Err(SiitError::DuplicateV4(one.v4))
    );
    assert_eq!(
        Siit::new(vec![one, other, same6], None),
        Err(SiitError::DuplicateV6(one.v6))
    );
}

fn eams() -> impl Strategy<Value = Vec<Eam>> {
    // Few bits, so that many overlap.
    let one = (0u8..=6, 0u32..64, 0u8..=12, 0u128..4096).prop_map(|(l4, a4, l6, a6)| Eam {
        v4: Ipv4Prefix::containing(a4 << 26, l4),
        // At least as many bits behind it.
        v6: Ipv6Prefix::containing(a6 << 26, 90 + l6.min(6 + l4)),
    });
    proptest::collection::vec(one, 0..12)
}

proptest! {
    #[test]
    fn intervals_find_what_a_scan_finds(mut eams in eams(), probes in proptest::collection::vec((any::<u32>(), 0u128..1 << 38), 0..40)) {
        let mut seen = (Vec::new(), Vec::new());
        eams.retain(|eam| {
            let new = !seen.0.contains(&eam.v4) && !seen.1.contains(&eam.v6);
            if new {
                seen.0.push(eam.v4);
                seen.1.push(eam.v6);
            }
            new
        });
        let siit = Siit::new(eams.clone(), None).unwrap();
        for (four, six) in probes {
            let longest = eams.iter().filter(|e| e.v4.contains(four)).max_by_key(|e| e.v4.len());
            prop_assert_eq!(siit.to_v6(four), longest.map(|e| e.to_v6(four)));
            let longest = eams.iter().filter(|e| e.v6.contains(six)).max_by_key(|e| e.v6.len());
            prop_assert_eq!(siit.to_v4(six), longest.map(|e| e.to_v4(six)));
            if let Some(e) = longest {
                prop_assert!(e.v4.contains(e.to_v4(six)));
                prop_assert_eq!(e.to_v4(e.to_v6(e.to_v4(six))), e.to_v4(six));
            }
        }
    }
}
