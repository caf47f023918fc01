//! `tandem ha keygen`: what a chassis needs to prove who it is to the other, without a daemon.

use std::io::{self, Write};
use std::path::Path;

use ha_sync::heartbeat::{FileKey, KeyFileError};
use ha_sync::net::keys::{self, KeyError};

use super::Exit;

/// The file with the key of heartbeats, which both chassis have.
const PAIR_KEY: &str = "pair.key";

/// Makes a key and a certificate, and the heartbeats' key unless it is there already; says what goes into the configurations of both
/// chassis.
pub fn keygen(directory: &Path, name: &str, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Exit> {
    let made = match keys::write(directory, name) {
        Ok(made) => made,
        Err(error) => {
            writeln!(err, "tandem: {error}")?;
            return Ok(match error {
                KeyError::Name(_) => Exit::Usage,
                KeyError::Generate(_) | KeyError::Exists(_) | KeyError::Write { .. } => Exit::Refused,
            });
        }
    };
    let pair_key = directory.join(PAIR_KEY);
    let pair_key_is_new = match FileKey::write_new(&pair_key) {
        Ok(_) => true,
        // Copied from the other chassis, or made with an earlier certificate: both chassis keep it.
        Err(KeyFileError::Write(KeyError::Exists(_))) => false,
        Err(error) => {
            writeln!(err, "tandem: {error}")?;
            return Ok(Exit::Refused);
        }
    };
    writeln!(out, "# sha256 {}", made.fingerprint)?;
    writeln!(out, "# On this chassis ({name}), in [redundancy-groups.N]:")?;
    writeln!(out, "certificate = {:?}", made.certificate)?;
    writeln!(out, "key = {:?}", made.key)?;
    writeln!(out, "heartbeat-key = {pair_key:?}")?;
    writeln!(out, "# On the other chassis, in [redundancy-groups.N]:")?;
    writeln!(out, "peer-fingerprints = [\"{}\"]", made.fingerprint)?;
    let shown = pair_key.display();
    if pair_key_is_new {
        writeln!(
            out,
            "# Heartbeats: {shown} is new. It is one key for both chassis: copy it to the other one before"
        )?;
        writeln!(
            out,
            "# \"tandem ha keygen\" runs there, or over what was made there (scp -p; mode 0600)."
        )?;
    } else {
        writeln!(
            out,
            "# Heartbeats: {shown} was there already, and is kept. The other chassis has the same one."
        )?;
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::run;

    #[test]
    fn a_key_is_made_once_and_is_its_owners() {
        let folder = std::env::temp_dir().join(format!("tandem-keygen-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("folder");
        let keygen = |name: &str| {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let line = [
                "tandem",
                "ha",
                "keygen",
                "--directory",
                folder.to_str().expect("UTF-8"),
                "--name",
                name,
            ];
            let exit = run(line.map(Into::into), &mut out, &mut err);
            (
                exit,
                String::from_utf8(out).expect("UTF-8"),
                String::from_utf8(err).expect("UTF-8"),
            )
        };
        let (exit, out, _) = keygen("chassis-1");
        assert_eq!(exit, Exit::Ok);
        let key = folder.join("chassis-1.key");
        assert_eq!(key.metadata().expect("key").permissions().mode() & 0o777, 0o600);
        let before = std::fs::read(&key).expect("key");
        let pair = folder.join(PAIR_KEY);
        assert_eq!(
            pair.metadata().expect("pair key").permissions().mode() & 0o777,
            0o600
        );
        let shared = FileKey::read(&pair).expect("64 digits");
        assert!(out.contains("copy it to the other one"), "{out}");
        assert!(out.contains(&format!("heartbeat-key = {pair:?}")), "{out}");
        let line = out
            .lines()
            .find(|line| line.starts_with("peer-fingerprints = "))
            .expect("line");
        let fingerprint = line.split('"').nth(1).expect("quoted");
        assert!(
            fingerprint.parse::<ha_sync::net::Fingerprint>().is_ok(),
            "{fingerprint}"
        );
        let (exit, out, err) = keygen("chassis-1");
        assert_eq!((exit, out.as_str()), (Exit::Refused, ""));
        assert!(err.contains("not overwritten"), "{err}");
        assert_eq!(std::fs::read(&key).expect("key"), before);
        assert_eq!(keygen("../escape").0, Exit::Usage);
        let (exit, out, _) = keygen("chassis-2");
        assert_eq!(exit, Exit::Ok);
        assert!(out.contains("was there already, and is kept"), "{out}");
        assert_eq!(FileKey::read(&pair).expect("the same file"), shared);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
