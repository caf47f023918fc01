//! The file by which VRRP follows a redundancy set's role: keepalived reads a number from it (`track_file`) and changes its priority, or
//! gives its addresses up.
//!
//! 0 while the set is primary here, 1 while it is not. keepalived multiplies the number by a weight and adds it to the priority; with weight 0
//! everything but 0 is a failure (keepalived.conf(5), "Track files"). So an instance is at its configured priority on the primary,
//! and below, or in FAULT, elsewhere. The file is replaced whole, by a rename: whoever reads it sees one number or the other.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("tracking file {}: {source}", path.display())]
pub struct TrackFileError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// The number that says whether the set is primary.
#[must_use]
pub const fn number(is_primary: bool) -> u8 {
    if is_primary { 0 } else { 1 }
}

/// Makes the file say whether the set is primary. `Ok(false)`: it did already.
///
/// # Errors
/// When it cannot be written, for example because its directory is not there.
pub fn put(path: &Path, is_primary: bool) -> Result<bool, TrackFileError> {
    let text = format!("{}\n", number(is_primary));
    if says(path, &text) {
        return Ok(false);
    }
    replace(path, &text)
        .map(|()| true)
        .map_err(|source| TrackFileError {
            path: path.to_owned(),
            source,
        })
}

/// Whether it is an ordinary file with this text, and nothing else. What is not is not opened: that could block.
fn says(path: &Path, text: &str) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == text.len() as u64)
        && std::fs::read(path).is_ok_and(|found| found == text.as_bytes())
}

/// Beside the file, and then in its place. The name is this process' own: the guard of one that has just died may be at it, too.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let name = path.file_name().ok_or(ErrorKind::IsADirectory)?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(beside);
    let written = write_new(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // It may not be there at all; the first error is the one to tell.
        let _gone = std::fs::remove_file(&beside);
    }
    written
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let create = || std::fs::File::options().write(true).create_new(true).open(path);
    let mut file = match create() {
        // Of a process with the same number, which died here.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            create()?
        }
        other => other?,
    };
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tandem-track-file-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("a folder");
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(&self.0).expect("readable");
            entries
                .map(|entry| {
                    entry
                        .expect("an entry")
                        .file_name()
                        .to_string_lossy()
                        .into_owned()
                })
                .collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).expect("removed");
        }
    }

    #[test]
    fn it_says_the_role_and_nothing_is_left_beside_it() {
        let folder = Folder::new("says");
        let path = folder.0.join("set-1");
        for (is_primary, is_new, text) in [
            (false, true, "1\n"),
            (false, false, "1\n"),
            (true, true, "0\n"),
            (true, false, "0\n"),
            (false, true, "1\n"),
        ] {
            assert_eq!(put(&path, is_primary).expect("written"), is_new);
            assert_eq!(std::fs::read_to_string(&path).expect("readable"), text);
        }
        assert_eq!(folder.names(), ["set-1"]);
    }

    #[test]
    fn what_stood_there_is_replaced_and_a_link_not_followed() {
        let folder = Folder::new("replaced");
        let (path, other) = (folder.0.join("set-1"), folder.0.join("other"));
        std::fs::write(&other, "0\n").expect("written");
        std::os::unix::fs::symlink(&other, &path).expect("a link");
        assert!(put(&path, true).expect("written"));
        assert!(std::fs::symlink_metadata(&path).expect("there").is_file());
        std::fs::write(&path, "0 or so\n").expect("written");
        assert!(put(&path, false).expect("written"));
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), "1\n");
        assert_eq!(std::fs::read_to_string(&other).expect("readable"), "0\n");
    }

    #[test]
    fn what_cannot_be_written_is_told_with_its_path_and_leaves_nothing() {
        let folder = Folder::new("refused");
        let error = put(&folder.0.join("none/set-1"), true).expect_err("no folder");
        assert!(error.to_string().contains("none/set-1: No such file"), "{error}");
        std::fs::create_dir(folder.0.join("set-1")).expect("a folder");
        put(&folder.0.join("set-1"), true).expect_err("a folder is in its place");
        assert_eq!(folder.names(), ["set-1"]);
    }
}
