//! The key that both chassis have in a file: making it, reading it, and deriving from it a key for each pair of chassis and direction.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::net::keys::{KeyError, create, octets32};

/// Octets of a key, and of what is derived from it (RFC 2104 section 3: as long as the hash).
const KEY_LEN: usize = 32;
/// What is read of a key's file at most. It has 64 digits and the end of a line.
const FILE_LEN_MAX: u64 = 128;
/// What the derived keys are for, with the format's version.
const LABEL: &[u8] = b"tandem heartbeat 1";

/// The key of a pair.
#[derive(Clone, PartialEq, Eq)]
pub struct FileKey([u8; KEY_LEN]);

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey")
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner can read or write it.
    #[error(
        "{path} has mode {mode:04o}: others than its owner may use it; chmod 600 it, and better make a new key"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is there, but no key.
    #[error(
        "{0} is no heartbeat key: it must be a file of 64 hexadecimal digits; copy it from the other chassis, or make a new one for both"
    )]
    NoKey(PathBuf),
    /// The system gave no randomness.
    #[error("the system gives no random numbers")]
    Random,
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] KeyError),
}

impl FileKey {
    /// Reads a key's file: 64 hexadecimal digits of either case; what is white around them is ignored.
    ///
    /// # Errors
    /// When it cannot be read, when others than its owner may use it, or when it is no key.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let failed = |source| KeyFileError::Read {
            path: path.to_owned(),
            source,
        };
        // Opening a FIFO would wait for somebody who writes.
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(KeyFileError::NoKey(path.to_owned()));
        }
        let file = File::open(path).map_err(failed)?;
        // Of the file that was opened, not of what has the name by then.
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let mut text = Vec::new();
        file.take(FILE_LEN_MAX).read_to_end(&mut text).map_err(failed)?;
        let key = octets32(text.trim_ascii()).map(Self);
        key.ok_or_else(|| KeyFileError::NoKey(path.to_owned()))
    }

    /// Makes a random key and writes it into a new file of mode 0600. It is then to be copied to the other chassis.
    ///
    /// # Errors
    /// When there is a file of this name already, when it cannot be written, or when the system gives no randomness.
    pub fn write_new(path: &Path) -> Result<Self, KeyFileError> {
        let mut octets = [0; KEY_LEN];
        let filled = SystemRandom::new().fill(&mut octets);
        filled.map_err(|_| KeyFileError::Random)?;
        let digits: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        create(path, 0o600, &format!("{digits}\n"))?;
        Ok(Self(octets))
    }

    /// What stands for a key with `security = "none"`: everybody knows it. Damage is still found, nothing else.
    #[must_use]
    pub fn known_to_all() -> Self {
        Self([0; KEY_LEN])
    }

    /// The key with which one chassis authenticates what it says to another: both redundancy addresses, IPv4 ones under `::ffff:0:0/96`.
    pub(super) fn derive(&self, from: IpAddr, to: IpAddr) -> hmac::Key {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        context.update(LABEL);
        for address in [from, to] {
            context.update(&wide(address).octets());
        }
        hmac::Key::new(hmac::HMAC_SHA256, context.sign().as_ref())
    }
}

fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    /// A folder of this test's own, gone at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let name = format!(
                "tandem-heartbeat-key-{}-{:x}",
                std::process::id(),
                fastrand::u64(..)
            );
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).expect("folder");
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_made_key_is_read_again_and_never_overwritten() {
        let folder = Folder::new();
        let path = folder.0.join("pair.key");
        let made = FileKey::write_new(&path).expect("made");
        assert_eq!(
            fs::metadata(&path).expect("file").permissions().mode() & 0o7777,
            0o600
        );
        assert_eq!(FileKey::read(&path).expect("read"), made);
        let again = FileKey::write_new(&path).expect_err("there already");
        assert!(again.to_string().contains("not overwritten"), "{again}");
        assert_ne!(
            FileKey::write_new(&folder.0.join("other.key")).expect("made"),
            made
        );
        assert_eq!(format!("{made:?}"), "FileKey");
    }

    #[test]
    fn what_is_no_key_and_what_others_can_read_is_refused_with_a_remedy() {
        let folder = Folder::new();
        let path = folder.0.join("pair.key");
        assert!(matches!(FileKey::read(&path), Err(KeyFileError::Read { .. })));
        assert!(matches!(FileKey::read(&folder.0), Err(KeyFileError::NoKey(_))));
        let digits = "0123456789abcdefABCDEF9876543210".repeat(2);
        let write = |text: &str, mode: u32| {
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("mode");
        };
        for text in [
            "",
            "0",
            &digits[1..],
            &format!("{digits}00"),
            &digits.replace('0', "g"),
        ] {
            write(text, 0o600);
            assert!(
                matches!(FileKey::read(&path), Err(KeyFileError::NoKey(_))),
                "{text}"
            );
        }
        for mode in [0o640, 0o604, 0o620, 0o660] {
            write(&digits, mode);
            let error = FileKey::read(&path).expect_err("exposed").to_string();
            assert!(
                error.contains(&format!("{mode:04o}")) && error.contains("chmod 600"),
                "{error}"
            );
        }
        write(&format!(" {digits}\r\n"), 0o400);
        assert!(FileKey::read(&path).is_ok());
    }
}
