//! Random policies and keys that meet at borders.

use tandem_engine::hash::Rng;
use tandem_engine::program::policy::{Application, Policy, PolicyAction, PolicyKey, PolicyMatch};

const V4: u128 = 0xffff << 32;

/// An IPv4 address among those of 128 bits.
pub const fn v4(address: u32) -> u128 {
    V4 | address as u128
}

/// One of a list.
pub fn one_of<T: Copy>(rng: &mut Rng, list: &[T]) -> T {
    list[rng.below(list.len() as u32) as usize]
}

fn chance(rng: &mut Rng, of: u32) -> bool {
    rng.below(of) == 0
}

/// What makes policies and keys of one round meet: the addresses and ports they are made from.
pub struct World {
    addresses: Vec<u128>,
    ports: Vec<u16>,
}

impl World {
    /// A few networks, and the ends of everything.
    pub fn new(rng: &mut Rng) -> Self {
        let mut addresses = vec![
            0,
            1,
            V4 - 1,
            V4,
            v4(u32::MAX),
            v4(u32::MAX) + 1,
            u128::MAX,
            u128::MAX - 1,
            // Some other family's look alike: the lower bits of an IPv4 address elsewhere.
            0x0a00_0001,
        ];
        for _ in 0..4 {
            let wide = u128::from(rng.draw()) << 64 | u128::from(rng.draw());
            let network = v4(rng.draw() as u32);
            addresses.extend([wide, network, network ^ 1, network ^ 0x8000, network + 255]);
        }
        let mut ports = vec![0, 1, 255, 256, 1023, 1024, 65534, 65535, 0x0800];
        ports.extend((0..4).map(|_| rng.draw() as u16));
        Self { addresses, ports }
    }

    /// One of its addresses or a neighbour.
    fn address(&self, rng: &mut Rng) -> u128 {
        let address = one_of(rng, &self.addresses);
        match rng.below(8) {
            0 => address.wrapping_add(1),
            1 => address.wrapping_sub(1),
            2 => address ^ 1 << rng.below(128),
            3 => address ^ 1 << rng.below(16),
            _ => address,
        }
    }

    fn range(&self, rng: &mut Rng) -> (u128, u128) {
        let (a, b) = (self.address(rng), self.address(rng));
        match rng.below(10) {
            0 => (a, a),
            1 => (V4, v4(u32::MAX)),
            2 => (0, u128::MAX),
            // As it comes: most of these are the wrong way round and match nothing.
            3 if a > b || chance(rng, 12) => (a, b),
            4 => (a, a.saturating_add(rng.below(1000).into())),
            // From anywhere to anywhere: hundreds of prefixes.
            5 if chance(rng, 12) => (a.min(b), a.max(b)),
            _ => {
                let host = u128::MAX
                    .checked_shr(
                        one_of(rng, &[0, 1, 32, 48, 64, 96, 97, 104, 112, 120, 124, 127, 128]) as u32,
                    )
                    .unwrap_or(0);
                (a & !host, a | host)
            }
        }
    }

    fn ranges(&self, rng: &mut Rng) -> Vec<(u128, u128)> {
        let count = one_of(rng, &[0, 0, 1, 1, 1, 2, 3]);
        (0..count).map(|_| self.range(rng)).collect()
    }

    fn port(&self, rng: &mut Rng) -> u16 {
        let port = one_of(rng, &self.ports);
        match rng.below(6) {
            0 => port.wrapping_add(1),
            1 => port.wrapping_sub(1),
            _ => port,
        }
    }

    fn port_range(&self, rng: &mut Rng) -> (u16, u16) {
        let (a, b) = (self.port(rng), self.port(rng));
        match rng.below(5) {
            0 => (a, a),
            1 => (a, b),
            2 => (a.min(b), a.max(b)),
            _ => (0, u16::MAX),
        }
    }

    fn application(&self, rng: &mut Rng) -> Application {
        Application {
            protocol: (!chance(rng, 4)).then(|| Self::protocol(rng)),
            source_ports: self.port_range(rng),
            destination_ports: self.port_range(rng),
        }
    }

    fn protocol(rng: &mut Rng) -> u8 {
        one_of(rng, &[0, 1, 6, 6, 17, 17, 58, 254, 255])
    }

    /// A list of policies.
    pub fn policies(&self, rng: &mut Rng, count: u32) -> Vec<Policy> {
        (0..count)
            .map(|n| Policy {
                id: n as u16,
                name: format!("p{n}"),
                action: PolicyAction::Permit,
                log: false,
                matches: self.matches(rng),
            })
            .collect()
    }

    fn matches(&self, rng: &mut Rng) -> Vec<PolicyMatch> {
        // Few match everything, or what comes after would never be seen.
        let count = one_of(rng, &[1, 1, 1, 1, 1, 2, 2, 3]) - u32::from(chance(rng, 30));
        let applications = |rng: &mut Rng| {
            let count = one_of(rng, &[0, 1, 1, 2, 3]);
            (0..count).map(|_| self.application(rng)).collect()
        };
        (0..count)
            .map(|_| PolicyMatch {
                sources: self.ranges(rng),
                destinations: self.ranges(rng),
                applications: applications(rng),
            })
            .collect()
    }

    /// A key: often at a border of a range of one of the policies.
    pub fn key(&self, rng: &mut Rng, policies: &[Policy]) -> PolicyKey {
        let mut key = PolicyKey {
            src: self.address(rng),
            dst: self.address(rng),
            sport: self.port(rng),
            dport: self.port(rng),
            protocol: Self::protocol(rng),
        };
        if !policies.is_empty() && !chance(rng, 3) {
            let policy = &policies[rng.below(policies.len() as u32) as usize];
            if !policy.matches.is_empty() {
                let part = &policy.matches[rng.below(policy.matches.len() as u32) as usize];
                aim(rng, &mut key, part);
            }
        }
        key
    }
}

/// Moves a key to the borders of a match, inside or one beside.
fn aim(rng: &mut Rng, key: &mut PolicyKey, part: &PolicyMatch) {
    let address = |rng: &mut Rng, list: &[(u128, u128)], old: u128| {
        if list.is_empty() {
            return old;
        }
        let (first, last) = one_of(rng, list);
        match rng.below(8) {
            0 => first.wrapping_sub(1),
            1 => last.wrapping_add(1),
            2..=4 => first,
            _ => last,
        }
    };
    let port = |rng: &mut Rng, range: (u16, u16)| match rng.below(8) {
        0 => range.0.wrapping_sub(1),
        1 => range.1.wrapping_add(1),
        2..=4 => range.0,
        _ => range.1,
    };
    key.src = address(rng, &part.sources, key.src);
    key.dst = address(rng, &part.destinations, key.dst);
    if !part.applications.is_empty() {
        let application = one_of(rng, &part.applications);
        key.sport = port(rng, application.source_ports);
        key.dport = port(rng, application.destination_ports);
        key.protocol = application.protocol.unwrap_or(key.protocol);
    }
}
