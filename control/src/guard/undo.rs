//! What tandemd tells the guard, and how it is framed: a length of four octets, big-endian, and JSON.

use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::gone::Gone;
use crate::kernel::{KernelRoute, VirtualAddress};

/// Longest word, octets. 128 sets with 16 policies' routes make less than 1 MiB.
const WORD_OCTETS_MAX: usize = 8 << 20;

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
    /// Writes the word.
    pub(super) fn send(&self, out: &mut impl Write) -> std::io::Result<()> {
        let mut octets = vec![0; 4];
        serde_json::to_writer(&mut octets, self)?;
        let length = u32::try_from(octets.len() - 4).map_err(|_| ErrorKind::FileTooLarge)?;
        octets[..4].copy_from_slice(&length.to_be_bytes());
        out.write_all(&octets)
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
    fn garbage_is_no_word() {
        assert!(Word::receive(&mut &[0xff; 16][..]).is_err(), "too long");
        assert!(Word::receive(&mut &[0, 0, 0, 2, b'{', b'}'][..]).is_err());
    }
}
