//! Certificates and keys that a configuration names: they are opened before anything starts, so that a wrong one is told with
//! its line and its key, and by `tandem check` already.

use std::path::Path;

use ha_sync::heartbeat::{FileKey, KeyFileError};
use ha_sync::net::{Security, SetupError, Tls, TlsFile, Trust, file_faults};

use super::Config;
use super::diagnostics::join;
use super::fault::{Fault, FaultKind};

/// One fault for each file that cannot be used.
pub(super) fn faults(config: &Config) -> Vec<Fault> {
    let mut faults = Vec::new();
    for group in &config.redundancy.groups {
        if let Some(key) = group.heartbeats.as_ref().and_then(|beats| beats.key.as_ref())
            && let Err(error) = FileKey::read(key)
        {
            let path = join("redundancy-groups", &group.id.to_string()) + ".heartbeat-key";
            let (line, column) = config.position(&path);
            let (problem, remedy) = of_pair_key(key, &error);
            faults.push(Fault {
                kind: FaultKind::BadValue,
                file: config.file.clone(),
                line,
                column,
                path,
                problem,
                remedy,
            });
        }
        let Security::Tls(tls) = &group.security else {
            continue;
        };
        for (file, error) in file_faults(tls) {
            let (key, named) = named(tls, file);
            let path = format!("{}.{key}", join("redundancy-groups", &group.id.to_string()));
            let (line, column) = config.position(&path);
            faults.push(Fault {
                kind: FaultKind::BadValue,
                file: config.file.clone(),
                line,
                column,
                path,
                problem: problem(&error),
                remedy: remedy(file, named, &error),
            });
        }
    }
    faults.sort_by_key(|fault| (fault.line, fault.column));
    faults
}

/// What is wrong with the key of heartbeats, and what would be right.
fn of_pair_key(key: &Path, error: &KeyFileError) -> (String, String) {
    let key = key.display();
    let copy = "copy the other chassis' file; \"tandem ha keygen\" makes one where there is none";
    match error {
        KeyFileError::Exposed { mode, .. } => (
            format!("{key} has mode {mode:04o}: others than its owner may use it"),
            format!("chmod 600 {key}, or make a new one for both chassis"),
        ),
        KeyFileError::NoKey(_) => (format!("{key} is no file of 64 hexadecimal digits"), copy.into()),
        other => (other.to_string(), copy.into()),
    }
}

/// The key that names a file, and the file.
fn named(tls: &Tls, file: TlsFile) -> (&'static str, &Path) {
    match (file, &tls.trust) {
        (TlsFile::Certificate, _) => ("certificate", &tls.certificate),
        (TlsFile::Key, _) => ("key", &tls.key),
        (TlsFile::Authority, Trust::Authority { file, .. }) => ("ca", file),
        (TlsFile::Authority, Trust::Fingerprints(_)) => ("peer-fingerprints", Path::new("")),
    }
}

/// What is wrong, without what the error itself says would be right.
fn problem(error: &SetupError) -> String {
    match error {
        SetupError::Exposed(file) => format!("{} can be read or written by everybody", file.display()),
        other => other.to_string(),
    }
}

fn remedy(file: TlsFile, named: &Path, error: &SetupError) -> String {
    let directory = match named.parent() {
        Some(parent) if parent != Path::new("") => parent.display().to_string(),
        _ => ".".into(),
    };
    match (error, file) {
        (SetupError::Exposed(_), _) => format!(
            "chmod 600 {}, or make a new key with \"tandem ha keygen\"",
            named.display()
        ),
        (SetupError::Pair { .. }, _) => {
            "use the certificate and the key that \"tandem ha keygen\" made together".into()
        }
        (_, TlsFile::Authority) => {
            "use the PEM file of the CA that signed the other chassis' certificate".into()
        }
        (_, TlsFile::Certificate | TlsFile::Key) => format!(
            "use a PEM file that tandemd may read; \"tandem ha keygen --directory {directory} --name NAME\" makes certificate and key"
        ),
    }
}
