//! Input: prefixes, explicit mappings and addresses. The address maps of RFC 6052, RFC 7757 and RFC 6296 against the plain
//! reading of those: every mapping looked at for every address, bit by bit.

use tandem_wire::npt::Nptv6;
use tandem_wire::rfc6052::Prefix64;
use tandem_wire::siit::{Eam, Siit};
use tandem_wire::{Ipv4Prefix, Ipv6Prefix};

use crate::sums::remainder;

/// Octets of the input, zeros behind its end.
struct Octets<'a>(&'a [u8]);

impl Octets<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }
    /// An address of few: ends are where mistakes are.
    fn wide(&mut self) -> u128 {
        let shape = self.octet();
        let base = 0x2001_0db8_0000_0000_0000_0000_0000_0000 | u128::from(self.octet()) << 88;
        match shape % 6 {
            0 => base,
            1 => base | u128::MAX >> (shape >> 1),
            2 => base | u128::from(self.octet()) << (shape >> 1),
            3 => u128::MAX << (shape >> 1),
            4 => u128::MAX >> (shape >> 1),
            _ => (0..16).fold(0, |sum, _| sum << 8 | u128::from(self.octet())),
        }
    }
    fn four(&mut self) -> u32 {
        let shape = self.octet();
        let base = 0xc000_0200 | u32::from(self.octet());
        match shape % 5 {
            0 => base,
            1 => base | u32::MAX >> (shape >> 3),
            2 => u32::MAX << (shape >> 3),
            3 => u32::MAX >> (shape >> 3),
            _ => (0..4).fold(0, |sum, _| sum << 8 | u32::from(self.octet())),
        }
    }
}

/// The octets of an IPv6 address that carry the IPv4 one. RFC 6052 section 2.2, figure 1.
fn places(len: u8) -> [usize; 4] {
    let first = usize::from(len / 8);
    let mut places = [0; 4];
    let mut at = first;
    for place in &mut places {
        if at == 8 && len != 96 {
            at += 1;
        }
        *place = at;
        at += 1;
    }
    places
}

fn embedding(octets: &mut Octets<'_>) -> Option<Prefix64> {
    let len = octets.octet() % 129;
    let base = octets.wide();
    let legal = matches!(len, 32 | 40 | 48 | 56 | 64 | 96);
    let prefix = Prefix64::new(Ipv6Prefix::containing(base, len)).ok();
    assert_eq!(prefix.is_some(), legal && (len != 96 || base >> 56 & 0xff == 0));
    let prefix = prefix?;
    let v4 = octets.four();
    let address = prefix.embed(v4);
    let mut expected = prefix.prefix().first().to_be_bytes();
    for (place, octet) in places(len).into_iter().zip(v4.to_be_bytes()) {
        expected[place] = octet;
    }
    assert_eq!(address.to_be_bytes(), expected);
    assert_eq!(prefix.extract(address), Some(v4));
    let any = octets.wide();
    let inside = prefix.prefix().first() | any & !prefix.prefix().mask();
    let carried = places(len).map(|place| inside.to_be_bytes()[place]);
    assert_eq!(prefix.extract(inside), Some(u32::from_be_bytes(carried)));
    assert_eq!(prefix.extract(any).is_some(), prefix.contains(any));
    Some(prefix)
}

fn prefixes(octets: &mut Octets<'_>) {
    let (a, b, c) = (octets.octet() % 129, octets.octet(), octets.octet());
    let second = if b % 8 == 0 { c % 129 } else { a };
    let inside = Ipv6Prefix::containing(octets.wide(), a);
    let outside = Ipv6Prefix::containing(octets.wide(), second);
    let pair = Nptv6::new(inside, outside);
    assert_eq!(pair.is_ok(), a == second && (1..=64).contains(&a));
    let Ok(pair) = pair else { return };
    let host = octets.wide();
    let address = inside.first() | host & !inside.mask();
    let words = |address: u128| remainder(&address.to_be_bytes());
    let word = |n: u32| (address >> (112 - 16 * n)) as u16;
    // What takes up the change: the subnet, or the first word of the identifier that is not all ones.
    let fixed = if a <= 48 {
        word(3) == 0xffff
    } else {
        (4..8).all(|n| word(n) == 0xffff)
    };
    match pair.to_outside(address) {
        None => assert!(fixed),
        Some(out) => {
            assert!(!fixed && outside.contains(out));
            assert_eq!(words(out), words(address));
            let back = pair.to_inside(out).expect("there is a way back");
            // A word of 0xffff is written as 0, so the way back of such a one may be the other form of zero.
            assert!(inside.contains(back) && words(back) == words(address));
            assert_eq!(pair.to_outside(back), Some(out));
            assert_eq!(back, address);
        }
    }
    if !inside.contains(host) {
        assert_eq!(pair.to_outside(host), None);
    }
    if !outside.contains(host) {
        assert_eq!(pair.to_inside(host), None);
    }
}

/// The mapping with the longest prefix that has an address.
fn longest<T: Copy>(eams: &[Eam], has: impl Fn(&Eam) -> Option<(u8, T)>) -> Option<T> {
    let found = eams.iter().filter_map(has).max_by_key(|(len, _)| *len);
    found.map(|(_, to)| to)
}

fn explicit(octets: &mut Octets<'_>, prefix: Option<Prefix64>) {
    let mut eams = Vec::new();
    for _ in 0..octets.octet() % 24 {
        let (v4, v6) = (octets.octet() % 33, octets.octet());
        // The suffix fits, mostly.
        let v6 = if v6 % 16 == 0 {
            v6 % 129
        } else {
            96 + v4 - v6 % (v4 + 8).min(96)
        };
        eams.push(Eam {
            v4: Ipv4Prefix::containing(octets.four(), v4),
            v6: Ipv6Prefix::containing(octets.wide(), v6),
        });
    }
    let twice = (0..eams.len()).any(|n| eams[..n].iter().any(|e| e.v4 == eams[n].v4 || e.v6 == eams[n].v6));
    let too_long = eams.iter().any(|e| 32 - e.v4.len() > 128 - e.v6.len());
    let table = Siit::new(eams.clone(), prefix);
    assert_eq!(table.is_err(), twice || too_long);
    let Ok(table) = table else { return };
    let mut addresses: Vec<(u32, u128)> = Vec::new();
    for e in &eams {
        for (v4, v6) in [(e.v4.first(), e.v6.first()), (e.v4.last(), e.v6.last())] {
            addresses.extend([
                (v4, v6),
                (v4.wrapping_add(1), v6.wrapping_add(1)),
                (v4.wrapping_sub(1), v6.wrapping_sub(1)),
            ]);
        }
    }
    for _ in 0..4 {
        addresses.push((octets.four(), octets.wide()));
    }
    for (v4, v6) in addresses {
        let to6 = longest(&eams, |e| {
            let shift = 128 - u32::from(e.v6.len()) - (32 - u32::from(e.v4.len()));
            let suffix = u128::from(v4 & !e.v4.mask());
            let moved = if suffix == 0 { 0 } else { suffix << shift };
            e.v4.contains(v4).then_some((e.v4.len(), e.v6.first() | moved))
        });
        assert_eq!(table.to_v6(v4), to6.or(prefix.map(|p| p.embed(v4))));
        assert_eq!(table.maps_v4(v4), to6.is_some());
        let to4 = longest(&eams, |e| {
            let (bits6, bits4) = (128 - u32::from(e.v6.len()), 32 - u32::from(e.v4.len()));
            let suffix = v6 & !e.v6.mask();
            let moved = if bits4 == 0 {
                0
            } else {
                (suffix >> (bits6 - bits4)) as u32
            };
            e.v6.contains(v6).then_some((e.v6.len(), e.v4.first() | moved))
        });
        assert_eq!(table.to_v4(v6), to4.or(prefix.and_then(|p| p.extract(v6))));
    }
    // One mapping, looked at alone, leads there and back.
    for e in &eams {
        let alone = Siit::new(vec![*e], None).expect("it is one of a table");
        let v4 = e.v4.first() | octets.four() & !e.v4.mask();
        let v6 = alone.to_v6(v4).expect("it is mapped");
        assert!(e.v6.contains(v6));
        assert_eq!(alone.to_v4(v6), Some(v4));
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut octets = Octets(data);
    while !octets.is_empty() {
        match octets.octet() % 4 {
            0 => drop(embedding(&mut octets)),
            1 => prefixes(&mut octets),
            _ => {
                let prefix = embedding(&mut octets);
                explicit(&mut octets, prefix);
            }
        }
    }
}
