//! Static mappings that are set at run time: a list that grows and shrinks, and the file that keeps it across restarts.
//!
//! ```text
//!   list --> file written beside --> (the commit is handed over) --> file in place
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::api::model::NewStaticMapping;
use crate::config::{RuntimeStatic, StaticFault};

/// Mappings of run time, at most: each is looked at in every commit.
pub(super) const MAPPINGS_MAX: usize = 4096;
/// The file in the state directory.
const FILE: &str = "static-mappings.json";
/// Largest file that is read, bytes; some times what so many mappings need.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// What the file is written as.
const VERSION: u32 = 1;

/// The list: as it was asked for, and as the program takes it, in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RuntimeStatics {
    asked: Vec<NewStaticMapping>,
    mappings: Vec<RuntimeStatic>,
}

/// A list that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ListError {
    /// A mapping is wrong by itself.
    #[error("static mapping \"{name}\": {fault}")]
    Wrong {
        /// Its name.
        name: String,
        /// What is wrong.
        fault: StaticFault,
    },
    /// Its name is taken.
    #[error("service set \"{0}\" has a static mapping \"{1}\" that was set at run time already")]
    Taken(String, String),
    /// There are as many as there may be.
    #[error("there are {MAPPINGS_MAX} static mappings that were set at run time; put some into the file")]
    Full,
}

impl RuntimeStatics {
    pub(super) fn mappings(&self) -> &[RuntimeStatic] {
        &self.mappings
    }

    /// Service set and name of each.
    pub(super) fn names(&self) -> BTreeSet<(String, String)> {
        let name = |one: &NewStaticMapping| (one.service_set.clone(), one.name.clone());
        self.asked.iter().map(name).collect()
    }

    fn position(&self, service_set: &str, name: &str) -> Option<usize> {
        let is = |one: &NewStaticMapping| one.service_set == service_set && one.name == name;
        self.asked.iter().position(is)
    }

    /// The list with one more.
    pub(super) fn with(mut self, new: &NewStaticMapping) -> Result<Self, ListError> {
        if self.asked.len() >= MAPPINGS_MAX {
            return Err(ListError::Full);
        }
        if self.position(&new.service_set, &new.name).is_some() {
            return Err(ListError::Taken(new.service_set.clone(), new.name.clone()));
        }
        let wrong = |fault| ListError::Wrong {
            name: new.name.clone(),
            fault,
        };
        self.mappings.push(new.read().map_err(wrong)?);
        self.asked.push(new.clone());
        Ok(self)
    }

    /// The list without one; `None` when it has no such.
    pub(super) fn without(mut self, service_set: &str, name: &str) -> Option<Self> {
        let at = self.position(service_set, name)?;
        self.asked.remove(at);
        self.mappings.remove(at);
        Some(self)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Document {
    version: u32,
    static_mappings: Vec<NewStaticMapping>,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("state file {}: {why}; put it right or remove it", file.display())]
pub(super) struct StateError {
    file: PathBuf,
    why: String,
}

/// Where the list is kept; nowhere without a directory.
#[derive(Clone, Debug, Default)]
pub(super) struct StateFile(Option<PathBuf>);

impl StateFile {
    pub(super) fn new(directory: Option<&Path>) -> Self {
        Self(directory.map(|directory| directory.join(FILE)))
    }

    /// Whether anything is kept.
    pub(super) fn keeps(&self) -> bool {
        self.0.is_some()
    }

    /// The list that was kept last; an empty one when none was.
    pub(super) fn read(&self) -> Result<RuntimeStatics, StateError> {
        let Some(file) = &self.0 else {
            return Ok(RuntimeStatics::default());
        };
        let bad = |why: String| StateError {
            file: file.clone(),
            why,
        };
        match fs::metadata(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(RuntimeStatics::default()),
            Err(error) => return Err(bad(error.to_string())),
            Ok(about) if about.len() > FILE_BYTES_MAX => {
                return Err(bad(format!("it is larger than {FILE_BYTES_MAX} bytes")));
            }
            Ok(_) => {}
        }
        let text = fs::read(file).map_err(|e| bad(e.to_string()))?;
        let document: Document = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
        if document.version != VERSION {
            return Err(bad(format!(
                "it has version {}, and this program reads version {VERSION}",
                document.version
            )));
        }
        let list = RuntimeStatics::default();
        let list = document
            .static_mappings
            .iter()
            .try_fold(list, RuntimeStatics::with);
        list.map_err(|e| bad(e.to_string()))
    }

    /// Writes the list beside the file, as far as the disk. Only [`Written::put_in_place`] makes it the one that is read.
    pub(super) fn write(&self, list: &RuntimeStatics) -> io::Result<Written> {
        let Some(file) = &self.0 else {
            return Ok(Written(None));
        };
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory)?;
        }
        let beside = file.with_extension("json.new");
        let document = Document {
            version: VERSION,
            static_mappings: list.asked.clone(),
        };
        let mut text = serde_json::to_vec_pretty(&document)?;
        text.push(b'\n');
        let mut new = File::create(&beside)?;
        // From here on what lies there goes when this fails.
        let written = Written(Some((beside, file.clone())));
        new.write_all(&text)?;
        new.sync_all()?;
        Ok(written)
    }
}

/// A new file beside the old one, which goes unless it takes that one's place.
#[derive(Debug)]
pub(super) struct Written(Option<(PathBuf, PathBuf)>);

impl Written {
    /// Takes the old file's place, whole or not at all.
    pub(super) fn put_in_place(mut self) -> io::Result<()> {
        let Some((beside, file)) = &self.0 else {
            return Ok(());
        };
        fs::rename(beside, file)?;
        if let Some(directory) = file.parent() {
            File::open(directory)?.sync_all()?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if let Some((beside, _)) = &self.0 {
            // Nobody reads it, and the next one overwrites it.
            let _gone = fs::remove_file(beside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(name: &str, public: &str) -> NewStaticMapping {
        NewStaticMapping {
            service_set: "s".into(),
            name: name.into(),
            inside: "10.0.0.5".into(),
            public: public.into(),
            protocol: Some("tcp".into()),
            public_ports: Some("80".into()),
            inside_ports: Some("8080".into()),
            ..NewStaticMapping::default()
        }
    }

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("tandem-state-{name}-{}", std::process::id())))
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_list_is_read_as_it_was_put_in_place_and_not_before() {
        let directory = Directory::new("round");
        let state = StateFile::new(Some(&directory.0));
        assert_eq!(state.read().expect("none is empty"), RuntimeStatics::default());
        let one = RuntimeStatics::default()
            .with(&mapping("web", "203.0.113.5"))
            .expect("right");
        drop(state.write(&one).expect("written"));
        assert_eq!(state.read().expect("still none"), RuntimeStatics::default());
        assert_eq!(fs::read_dir(&directory.0).expect("there").count(), 0);
        state
            .write(&one)
            .expect("written")
            .put_in_place()
            .expect("in place");
        assert_eq!(state.read().expect("one"), one);
        let none = one.without("s", "web").expect("it was there");
        state
            .write(&none)
            .expect("written")
            .put_in_place()
            .expect("in place");
        assert_eq!(state.read().expect("none"), RuntimeStatics::default());
        assert!(state.keeps() && !StateFile::default().keeps());
    }

    #[test]
    fn a_file_that_is_not_right_is_refused_by_name() {
        let directory = Directory::new("bad");
        fs::create_dir_all(&directory.0).expect("a directory");
        let state = StateFile::new(Some(&directory.0));
        for (text, says) in [
            ("{", "EOF"),
            ("{\"version\": 2, \"static-mappings\": []}", "version 2"),
            ("{\"version\": 1, \"mappings\": []}", "unknown field"),
            (
                "{\"version\": 1, \"static-mappings\": [{\"service-set\": \"s\", \"name\": \"x\", \"inside\": \"nobody\", \
                 \"public\": \"203.0.113.1\"}]}",
                "inside",
            ),
        ] {
            fs::write(directory.0.join(FILE), text).expect("written");
            let error = state.read().expect_err("refused").to_string();
            assert!(error.contains(says) && error.contains(FILE), "{error}");
        }
    }

    #[test]
    fn names_are_taken_once_and_the_list_ends() {
        let mut list = RuntimeStatics::default()
            .with(&mapping("a", "203.0.113.5"))
            .expect("right");
        let again = list.clone().with(&mapping("a", "203.0.113.6"));
        assert_eq!(again, Err(ListError::Taken("s".into(), "a".into())));
        assert_eq!(list.clone().without("t", "a"), None);
        for n in 1..MAPPINGS_MAX {
            list = list
                .with(&mapping(&format!("a{n}"), "203.0.113.5"))
                .expect("room");
        }
        assert_eq!(
            list.with(&mapping("one-more", "203.0.113.5")),
            Err(ListError::Full)
        );
    }
}
