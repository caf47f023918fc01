//! Files that both chassis of a pair must have alike: the key of heartbeats, and the CA. Never a chassis' certificate and its key.
//!
//! Only a file that this chassis' configuration names by a path relative to its own directory is read for the peer or written;
//! nothing of what the peer says becomes a path.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Component, Path, PathBuf};

use ha_sync::heartbeat::FileKey;
use ha_sync::net::{Security, Tls, TlsFile, Trust, file_faults};
use ring::digest::{SHA256, digest as sha256};

use super::said::SharedFile;
use crate::api::model::{FileState, hexadecimal};
use crate::config::{Config, RedundancyGroup};

/// Octets of a shared file at most.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// Why a file is not read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// No such key, or its path is no relative one.
    #[error("the configuration names no {0} by a path relative to its directory")]
    NotNamed(String),
    /// Its content would go over the channel in clear.
    #[error("the channel is not encrypted (security = \"none\"): copy the file by other means")]
    InClear,
    /// It is no plain file of text, or too long.
    #[error("{0} is no file of at most {FILE_BYTES_MAX} octets of text")]
    NoFile(String),
    /// What came cannot be what it should be.
    #[error("what the peer has is not usable: {0}")]
    Unusable(String),
    /// The file system.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
}

/// Key, and the file as the configuration has it.
fn named(config: &Config) -> Option<(&RedundancyGroup, Vec<(&'static str, &Path)>)> {
    let group = config.redundancy.groups.first()?;
    let key = group.heartbeats.as_ref().and_then(|beats| beats.key.as_deref());
    let ca = match &group.security {
        Security::Tls(Tls {
            trust: Trust::Authority { file, .. },
            ..
        }) => Some(file.as_path()),
        _ => None,
    };
    let named = [
        key.map(|file| ("heartbeat-key", file)),
        ca.map(|file| ("ca", file)),
    ];
    Some((group, named.into_iter().flatten().collect()))
}

/// The path relative to the directory of the configuration, if it lies in there and was not written as an absolute one.
fn relative<'p>(config: &Config, group: u8, key: &str, path: &'p Path) -> Option<&'p Path> {
    let written = config
        .effective()
        .get(&format!("redundancy-groups.{group}.{key}"))?;
    if written.trim_start_matches(['"', '\'']).starts_with('/') {
        return None;
    }
    let inside = path.strip_prefix(directory(config)).ok()?;
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    inside.components().all(is_plain).then_some(inside)
}

fn directory(config: &Config) -> PathBuf {
    Path::new(&config.file)
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// The shared files there are, with their digests.
pub(super) fn shared(config: &Config) -> Vec<SharedFile> {
    let Some((group, named)) = named(config) else {
        return Vec::new();
    };
    let one = |(key, path): (&str, &Path)| {
        let inside = relative(config, group.id, key, path)?;
        let content = read(path).ok();
        Some(SharedFile {
            key: key.to_owned(),
            path: inside.display().to_string(),
            digest: content.map(|content| hexadecimal(sha256(&SHA256, content.as_bytes()).as_ref())),
        })
    };
    named.into_iter().filter_map(one).collect()
}

/// How a file here stands to the peer's.
pub(super) fn state(here: &SharedFile, there: Option<&SharedFile>) -> FileState {
    match there {
        None => FileState::NotNamedThere,
        Some(there) if there.path != here.path => FileState::OtherPath,
        Some(there) if there.digest.is_none() => FileState::UnreadableThere,
        Some(there) if there.digest == here.digest => FileState::Alike,
        Some(_) => FileState::Differs,
    }
}

fn find<'c>(config: &'c Config, key: &str) -> Result<(&'c RedundancyGroup, &'c Path), FileError> {
    let not_named = || FileError::NotNamed(key.to_owned());
    let (group, named) = named(config).ok_or_else(not_named)?;
    let (name, path) = named
        .into_iter()
        .find(|(name, _)| *name == key)
        .ok_or_else(not_named)?;
    relative(config, group.id, name, path).ok_or_else(not_named)?;
    if matches!(group.security, Security::None) {
        return Err(FileError::InClear);
    }
    Ok((group, path))
}

fn read(path: &Path) -> Result<String, FileError> {
    let shown = || path.display().to_string();
    let failed = |error| FileError::Io(shown(), error);
    // Not by a symbolic link: that may lead out of the directory.
    let plain = fs::symlink_metadata(path).map_err(failed)?;
    if !plain.is_file() || plain.len() > FILE_BYTES_MAX {
        return Err(FileError::NoFile(shown()));
    }
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    match file.take(FILE_BYTES_MAX).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(FileError::NoFile(shown())),
        Err(error) => Err(failed(error)),
    }
}

/// What is in a shared file, for the peer.
pub(super) fn content(config: &Config, key: &str) -> Result<String, FileError> {
    let (_, path) = find(config, key)?;
    read(path)
}

/// Puts what the peer has in the place of a shared file: whole or not at all, mode 0600, of the owner it has.
pub(super) fn put(config: &Config, key: &str, content: &str) -> Result<(), FileError> {
    let (group, path) = find(config, key)?;
    let failed = |error| FileError::Io(path.display().to_string(), error);
    let owner = match fs::symlink_metadata(path) {
        Ok(plain) if !plain.is_file() => return Err(FileError::NoFile(path.display().to_string())),
        Ok(plain) => Some((plain.uid(), plain.gid())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = write(&beside, content, owner)
        .map_err(failed)
        .and_then(|()| usable(group, key, &beside))
        .and_then(|()| fs::rename(&beside, path).map_err(failed));
    if written.is_err() {
        // It may not even be there.
        let _gone = fs::remove_file(&beside);
    }
    written
}

fn write(path: &Path, content: &str, owner: Option<(u32, u32)>) -> io::Result<()> {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    if let Some((user, group)) = owner {
        fchown(&file, Some(user), Some(group))?;
    }
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

/// Whether the file is one that the daemon can use under this key.
fn usable(group: &RedundancyGroup, key: &str, path: &Path) -> Result<(), FileError> {
    let fault = match (key, &group.security) {
        ("heartbeat-key", _) => FileKey::read(path).err().map(|error| error.to_string()),
        ("ca", Security::Tls(tls)) => {
            let trust = match &tls.trust {
                Trust::Authority { peer_name, .. } => Trust::Authority {
                    file: path.to_owned(),
                    peer_name: peer_name.clone(),
                },
                other => other.clone(),
            };
            let tls = Tls { trust, ..tls.clone() };
            let of_ca = file_faults(&tls)
                .into_iter()
                .find(|(file, _)| *file == TlsFile::Authority);
            of_ca.map(|(_, error)| error.to_string())
        }
        _ => Some(format!("no file goes by {key}")),
    };
    fault.map_or(Ok(()), |fault| Err(FileError::Unusable(fault)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A directory of its own with a configuration whose group has `more`; gone at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let place = std::env::temp_dir().join(format!("tandem-files-{name}-{}", std::process::id()));
            fs::create_dir_all(&place).expect("a directory");
            Self(place)
        }

        fn config(&self, key: &str) -> Config {
            let text = format!(
                "[interfaces.in0]\ndevice = \"net_ring0\"\n[redundancy-groups.1]\nredundancy-local = \"5.5.5.1\"\nredundancy-peer = \"5.5.5.2\"\n\
                 certificate = \"a.crt\"\nkey = \"a.key\"\nca = \"ca.crt\"\nheartbeat-key = {key:?}\n"
            );
            let file = self.0.join("tandem.toml").display().to_string();
            crate::config::parse(&text, &file).unwrap_or_else(|faults| panic!("{faults:#?}"))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.0);
        }
    }

    const OLD: &str = "1111111111111111111111111111111111111111111111111111111111111111\n";
    const NEW: &str = "2222222222222222222222222222222222222222222222222222222222222222\n";

    #[test]
    fn a_shared_file_is_replaced_whole_with_mode_0600_and_only_by_one_that_can_be_used() {
        let place = Place::new("put");
        let (config, path) = (place.config("pair.key"), place.0.join("pair.key"));
        fs::write(&path, OLD).expect("written");
        assert!(matches!(
            put(&config, "heartbeat-key", "rubbish"),
            Err(FileError::Unusable(_))
        ));
        assert!(matches!(
            put(&config, "ca", "rubbish"),
            Err(FileError::Unusable(_))
        ));
        assert_eq!(fs::read_to_string(&path).expect("there"), OLD);
        put(&config, "heartbeat-key", NEW).expect("put");
        assert_eq!(content(&config, "heartbeat-key").expect("there"), NEW);
        assert_eq!(
            fs::metadata(&path).expect("there").permissions().mode() & 0o777,
            0o600
        );
        let left: Vec<_> = fs::read_dir(&place.0).expect("a directory").collect();
        assert_eq!(left.len(), 1, "{left:?}");
        let rows = shared(&config);
        assert_eq!(
            (rows[0].path.as_str(), rows[1].path.as_str()),
            ("pair.key", "ca.crt")
        );
        assert!(rows[0].digest.is_some() && rows[1].digest.is_none());
    }

    #[test]
    fn an_authority_comes_as_it_is() {
        let (place, maker) = (Place::new("ca"), Place::new("ca-maker"));
        let config = place.config("pair.key");
        ha_sync::net::keys::write(&maker.0, "authority").expect("keys");
        let authority = fs::read_to_string(maker.0.join("authority.crt")).expect("PEM");
        put(&config, "ca", &authority).expect("put");
        assert_eq!(content(&config, "ca").expect("there"), authority);
    }

    #[test]
    fn nothing_but_named_files_in_the_directory_leaves_or_comes() {
        let place = Place::new("paths");
        let outside = place.0.with_extension("outside");
        fs::write(&outside, OLD).expect("written");
        fs::write(place.0.join("a.key"), "secret").expect("written");
        for key in ["certificate", "key", "../tandem.toml", ""] {
            let config = place.config("pair.key");
            assert!(
                matches!(content(&config, key), Err(FileError::NotNamed(_))),
                "{key}"
            );
            assert!(
                matches!(put(&config, key, NEW), Err(FileError::NotNamed(_))),
                "{key}"
            );
        }
        let name = outside.file_name().expect("a name").to_str().expect("text");
        for path in [
            outside.to_str().expect("text"),
            &format!("../{name}"),
            place.0.join("pair.key").to_str().expect("text"),
        ] {
            let config = place.config(path);
            assert!(
                matches!(content(&config, "heartbeat-key"), Err(FileError::NotNamed(_))),
                "{path}"
            );
            assert!(
                matches!(put(&config, "heartbeat-key", NEW), Err(FileError::NotNamed(_))),
                "{path}"
            );
            assert!(
                shared(&config).iter().all(|file| file.key != "heartbeat-key"),
                "{path}"
            );
        }
        symlink(&outside, place.0.join("pair.key")).expect("a link");
        let config = place.config("pair.key");
        assert!(content(&config, "heartbeat-key").is_err() && put(&config, "heartbeat-key", NEW).is_err());
        assert_eq!(fs::read_to_string(&outside).expect("there"), OLD);
        fs::remove_file(outside).expect("it is there");
    }

    #[test]
    fn files_are_put_beside_each_other_by_key_and_path() {
        let file = |path: &str, digest: Option<&str>| SharedFile {
            key: "ca".into(),
            path: path.into(),
            digest: digest.map(str::to_owned),
        };
        let here = file("ca.crt", Some("1"));
        for (there, is) in [
            (None, FileState::NotNamedThere),
            (Some(file("x/ca.crt", Some("1"))), FileState::OtherPath),
            (Some(file("ca.crt", None)), FileState::UnreadableThere),
            (Some(file("ca.crt", Some("1"))), FileState::Alike),
            (Some(file("ca.crt", Some("2"))), FileState::Differs),
        ] {
            assert_eq!(state(&here, there.as_ref()), is);
        }
        assert_eq!(state(&file("ca.crt", None), Some(&here)), FileState::Differs);
    }
}
