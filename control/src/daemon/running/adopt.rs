//! The shared part of the peer's configuration in the place of this chassis' own: validated whole, written whole, applied whole, or
//! nothing of it.
//!
//! ```text
//!   file as it runs + peer's shared part --merge--> text --load, may it follow?--> file.previous, file --> workers
//!                                                     \--> faults: nothing changed      the file goes back when they do not take it
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::TryLockError;
use std::time::SystemTime;

use tracing::{error, info};

use super::{ReloadError, Running, Target};
use crate::api::model::Fault;
use crate::config::{self, MergeError};

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::daemon) struct Adopted {
    /// Whether anything is otherwise now (or would be).
    pub changed: bool,
    /// Generation in force.
    pub generation: u32,
    /// What of it could not be carried out.
    pub warnings: Vec<String>,
}

/// A configuration that was not taken over; nothing was changed but for [`AdoptError::Reload`] of workers that lag.
#[derive(Debug, thiserror::Error)]
pub(in crate::daemon) enum AdoptError {
    /// A reload is under way.
    #[error("a reload is under way there; try again")]
    Busy,
    /// What is in the file is not what runs.
    #[error("{0} has been changed since it was read: reload it first, or put back what runs")]
    FileChanged(PathBuf),
    /// The two do not fit together.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The result has faults.
    #[error("the configuration would have {} fault(s)", .0.len())]
    Faults(Vec<Fault>),
    /// The file could not be written.
    #[error("{0} cannot be written: {1}; nothing was changed")]
    Write(PathBuf, #[source] io::Error),
    /// Workers did not take it.
    #[error(transparent)]
    Reload(#[from] ReloadError),
    /// There is nothing to go back to.
    #[error("generation {0} runs, which is not the one that was taken over")]
    Moved(u32),
}

impl Running {
    /// Whether the file says something else than what runs.
    pub(in crate::daemon) fn file_has_changed(&self) -> bool {
        let text = fs::read_to_string(&self.file);
        !text.is_ok_and(|text| *text == *self.in_force().config.text)
    }

    /// Takes the peer's shared part over. With `dry_run` nothing is changed, only said whether it could be.
    pub(in crate::daemon) fn adopt(
        &self,
        target: &dyn Target,
        theirs: &str,
        dry_run: bool,
    ) -> Result<Adopted, AdoptError> {
        // Without waiting: the one under way may be waiting for the peer, which asks for this.
        let _one = match self.reloading.try_lock() {
            Ok(one) => one,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(AdoptError::Busy),
        };
        if self.file_has_changed() {
            return Err(AdoptError::FileChanged(self.file.clone()));
        }
        let before = self.in_force().config.text.to_string();
        let text = config::merged(&before, theirs)?;
        self.replace(target, &before, &text, dry_run)
    }

    /// Back to the file before the last [`Running::adopt`], if the generation that came of it still runs.
    pub(in crate::daemon) fn revert(
        &self,
        target: &dyn Target,
        generation: u32,
    ) -> Result<Adopted, AdoptError> {
        let _one = self.one_at_a_time();
        let in_force = self.in_force();
        let (runs, now) = (in_force.program.generation, in_force.config.text.to_string());
        drop(in_force);
        let before = self
            .before_adoption
            .lock()
            .ok()
            .and_then(|mut before| before.take());
        match before {
            Some((adopted, before)) if adopted == generation && runs == generation => {
                self.replace(target, &now, &before, false)
            }
            _ => Err(AdoptError::Moved(runs)),
        }
    }

    /// Puts `text` into the file and in force. The caller lets nobody else do so meanwhile.
    fn replace(
        &self,
        target: &dyn Target,
        before: &str,
        text: &str,
        dry_run: bool,
    ) -> Result<Adopted, AdoptError> {
        let mut adopted = Adopted {
            changed: before != text,
            generation: self.in_force().program.generation,
            warnings: Vec::new(),
        };
        if !adopted.changed {
            // What runs is from now on what the peer wants, too: it is not left for something older.
            if !dry_run && let Ok(mut kept) = self.before_adoption.lock() {
                *kept = None;
            }
            return Ok(adopted);
        }
        let file = self.file.display().to_string();
        let loaded = config::read_to_run(text, &file);
        let (next, token) = self.next_of(loaded).map_err(AdoptError::Faults)?;
        if dry_run {
            return Ok(adopted);
        }
        let unwritten = |error| AdoptError::Write(self.file.clone(), error);
        put(&previous(&self.file), before, &self.file).map_err(unwritten)?;
        put(&self.file, text, &self.file).map_err(unwritten)?;
        info!(file, "the shared part of the peer's configuration was written");
        match self.take(target, SystemTime::now(), next, token, None) {
            Ok(report) => {
                (adopted.generation, adopted.warnings) = (report.generation, report.warnings);
                if let Ok(mut kept) = self.before_adoption.lock() {
                    *kept = Some((adopted.generation, before.to_owned()));
                }
                Ok(adopted)
            }
            Err(failed) => {
                if matches!(failed, ReloadError::Standstill(_))
                    && let Err(problem) = put(&self.file, before, &self.file)
                {
                    error!(file, %problem, "the file is not what runs, and cannot be put back");
                }
                Err(failed.into())
            }
        }
    }
}

/// Where the file before is kept.
fn previous(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".previous");
    name.into()
}

/// Writes a file whole or not at all, with the mode and owner of `like`.
fn put(file: &Path, text: &str, like: &Path) -> io::Result<()> {
    // Where the name is a link, what it leads to is the file.
    let file = match fs::canonicalize(file) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => file.to_owned(),
        Err(error) => return Err(error),
    };
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let like = fs::metadata(like)?;
    let written = (|| {
        let mut new = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        fchown(&new, Some(like.uid()), Some(like.gid()))?;
        new.set_permissions(fs::Permissions::from_mode(like.mode() & 0o7777))?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        fs::rename(&beside, &file)?;
        match file.parent().filter(|parent| *parent != Path::new("")) {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    })();
    if written.is_err() {
        // It may not even be there.
        let _gone = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests;
