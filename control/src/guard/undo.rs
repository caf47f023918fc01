//! What tandemd tells the guard, and how it is framed: a length of four octets, big-endian, and JSON.

use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::gone::Gone;
use crate::kernel::{KernelRoute, VirtualAddress};

/// Longest word, octets. A configuration has at most 65,536 signal routes, 256 policies of 256 each, and each is there twice while a
/// new epoch gives it another metric. One has less than 200 octets here: 25 MiB. Virtual addresses have less than 100 each, and
/// are bounded by the size of the file alone: 131,072 make 12 MiB. The rest is less than 8 MiB. What is longer all the same is not sent.
pub(super) const WORD_OCTETS_MAX: usize = 64 << 20;

/// All that is to be undone when tandemd ends without a word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// Signal routes that are in the kernel, or about to be.
    pub routes: Vec<KernelRoute>,
    /// Virtual addresses that are on a device, or about to be.
    pub addresses: Vec<VirtualAddress>,
    /// Tracking files of VRRP, which then say that nobody is primary here; from the root.
    pub track_files: Vec<PathBuf>,
    /// What to say to the other chassis, by every way to it.
    pub gone: Vec<Gone>,
}

/// One word from tandemd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    /// This, and not what was listed before, is to be undone.
    List(Undo),
    /// tandemd ends in order: nothing is to be undone.
    CleanStop,
}

/// What the guard answers to a word: that it runs, or that it has the list.
pub(super) const ANSWER: u8 = b'.';

impl Word {
    /// The word as it is written.
    ///
    /// # Errors
    /// `FileTooLarge` for one that the guard would not take.
    pub(super) fn framed(&self) -> std::io::Result<Vec<u8>> {
        let mut octets = vec![0; 4];
        serde_json::to_writer(&mut octets, self)?;
        let length = octets.len() - 4;
        let length = u32::try_from(length).ok().filter(|_| length <= WORD_OCTETS_MAX);
        octets[..4].copy_from_slice(&length.ok_or(ErrorKind::FileTooLarge)?.to_be_bytes());
        Ok(octets)
    }

    /// Writes the word.
    pub(super) fn send(&self, out: &mut impl Write) -> std::io::Result<()> {
        out.write_all(&self.framed()?)
    }

    /// Waits for a word. `Ok(None)`: whoever sent words is gone, perhaps amid one.
    pub(super) fn receive(from: &mut impl Read) -> std::io::Result<Option<Self>> {
        let mut length = [0; 4];
        match from.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if is_end(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > WORD_OCTETS_MAX {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let mut octets = vec![0; length];
        match from.read_exact(&mut octets) {
            Ok(()) => Ok(Some(serde_json::from_slice(&octets)?)),
            Err(error) if is_end(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A dead process' socket ends with what was under way, or with a reset.
fn is_end(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{POLICY_ROUTES_MAX, REDUNDANCY_POLICIES_MAX, REDUNDANCY_SETS_MAX};
    use crate::kernel::KernelTarget;

    fn list() -> Word {
        Word::List(Undo {
            routes: vec![KernelRoute {
                prefix: "2001:db8::/32".parse().expect("a prefix"),
                table: 100_000,
                target: KernelTarget::NextHop {
                    gateway: Some([192, 0, 2, 1].into()),
                    ifindex: None,
                },
                metric: Some(0xff_ffff),
            }],
            addresses: vec![VirtualAddress {
                ifindex: 3,
                address: [192, 0, 2, 9].into(),
                length: 24,
            }],
            track_files: vec!["/run/tandem/set-1".into()],
            gone: vec![Gone {
                local: [192, 0, 2, 1].into(),
                peer: [192, 0, 2, 2].into(),
                port: 7,
                device: Some("p0".into()),
                namespace: None,
                octets: (0..=255).collect(),
            }],
        })
    }

    #[test]
    fn words_arrive_and_a_torn_one_is_the_end() {
        let mut line = Vec::new();
        list().send(&mut line).expect("written");
        let first = line.len();
        Word::CleanStop.send(&mut line).expect("written");
        let mut from = &line[..];
        assert_eq!(Word::receive(&mut from).expect("a word"), Some(list()));
        assert_eq!(Word::receive(&mut from).expect("a word"), Some(Word::CleanStop));
        assert_eq!(Word::receive(&mut from).expect("the end"), None);
        for torn in [0, 1, 3, 4, 5, first - 1] {
            assert_eq!(
                Word::receive(&mut &line[..torn]).expect("the end"),
                None,
                "{torn}"
            );
        }
    }

    #[test]
    fn all_that_a_configuration_can_have_fits_into_a_word() {
        let configured = REDUNDANCY_POLICIES_MAX * POLICY_ROUTES_MAX;
        let address = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff";
        let address: std::net::IpAddr = address.parse().expect("an address");
        let route = KernelRoute {
            prefix: ipnet::IpNet::new(address, 128).expect("a prefix"),
            table: u32::MAX,
            target: KernelTarget::NextHop {
                gateway: Some(address),
                ifindex: Some(u32::MAX),
            },
            metric: Some(u32::MAX),
        };
        assert!(serde_json::to_string(&route).expect("text").len() < 200);
        let virtual_address = VirtualAddress {
            ifindex: u32::MAX,
            address,
            length: 128,
        };
        assert!(serde_json::to_string(&virtual_address).expect("text").len() < 100);
        let way = Gone {
            local: address,
            peer: address,
            port: u16::MAX,
            device: Some("d".repeat(15)),
            namespace: Some("n".repeat(255)),
            octets: vec![255; 1500],
        };
        // PATH_MAX, and what takes most in JSON.
        let path = "\u{1}".repeat(4096);
        let most = Word::List(Undo {
            routes: vec![route; 2 * configured],
            addresses: vec![virtual_address; 131_072],
            // A set's of before and after a reload.
            track_files: vec![path.into(); 2 * usize::from(REDUNDANCY_SETS_MAX)],
            gone: vec![way; 4],
        });
        let octets = most.framed().expect("it fits").len();
        assert!(octets < WORD_OCTETS_MAX * 3 / 4, "{octets}");
    }

    #[test]
    fn what_is_too_long_is_not_written() {
        let of = |length: usize| {
            Word::List(Undo {
                track_files: vec!["f".repeat(length).into()],
                ..Undo::default()
            })
        };
        let beside = of(0).framed().expect("a word").len() - 4;
        let mut line = Vec::new();
        of(WORD_OCTETS_MAX - beside).send(&mut line).expect("the longest");
        assert!(Word::receive(&mut &line[..]).is_ok());
        line.clear();
        let refused = of(WORD_OCTETS_MAX - beside + 1).send(&mut line);
        assert_eq!(
            refused.map_err(|error| error.kind()),
            Err(ErrorKind::FileTooLarge)
        );
        assert_eq!(line.len(), 0, "not half of it either");
    }

    #[test]
    fn garbage_is_no_word() {
        assert!(Word::receive(&mut &[0xff; 16][..]).is_err(), "too long");
        assert!(Word::receive(&mut &[0, 0, 0, 2, b'{', b'}'][..]).is_err());
    }
}
