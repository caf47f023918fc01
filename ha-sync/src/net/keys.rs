//! Certificates and keys of a pair: making them, reading them, and the fingerprint by which one chassis knows the other.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;

/// Octets of a fingerprint.
const FINGERPRINT_LEN: usize = 32;
/// Days a made certificate is valid. Pinned certificates are exchanged when a key may be known to others, not by the calendar.
const VALID_DAYS: u64 = 3653;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest name of a chassis: it is the certificate's common name (RFC 5280 appendix A, ub-common-name).
const NAME_LEN_MAX: usize = 64;

/// SHA-256 over a certificate's DER: what `openssl x509 -fingerprint -sha256` shows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; FINGERPRINT_LEN]);

impl Fingerprint {
    /// Of a certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        let mut octets = [0; FINGERPRINT_LEN];
        for (to, from) in octets.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(octets)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 64 hexadecimal digits, with or without colons between the octets")]
pub struct NotAFingerprint;

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    /// Reads 64 hexadecimal digits of either case, colons between octets allowed as OpenSSL writes them.
    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let digits: Vec<u8> = if text.contains(':') {
            let octets: Vec<&str> = text.split(':').collect();
            if octets.iter().any(|octet| octet.len() != 2) {
                return Err(NotAFingerprint);
            }
            octets.concat().into_bytes()
        } else {
            text.as_bytes().to_vec()
        };
        octets32(&digits).map(Self).ok_or(NotAFingerprint)
    }
}

/// 64 hexadecimal digits of either case as what they stand for.
pub(crate) fn octets32(digits: &[u8]) -> Option<[u8; FINGERPRINT_LEN]> {
    let mut octets = [0; FINGERPRINT_LEN];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != FINGERPRINT_LEN || !rest.is_empty() {
        return None;
    }
    for (octet, [high, low]) in octets.iter_mut().zip(pairs) {
        *octet = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(octets)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// A new self-signed certificate with its key.
pub struct Generated {
    /// Certificate, PEM.
    pub certificate_pem: String,
    /// Key, PEM (PKCS #8).
    pub key_pem: String,
    /// What the other chassis knows it by.
    pub fingerprint: Fingerprint,
}

/// A certificate and its key, as files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file; nobody but its owner may read it.
    pub key: PathBuf,
    /// What the other chassis knows it by.
    pub fingerprint: Fingerprint,
}

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The name does not do as a file's and a certificate's.
    #[error("{0:?} cannot be a name: 1 to 64 letters, digits, '-', '_' and '.', and not a '.' first")]
    Name(String),
    /// Making key or certificate failed.
    #[error("cannot make a certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// A file of this name is there already; keys are never overwritten.
    #[error("{0} exists already; a key is not overwritten")]
    Exists(PathBuf),
    /// A file could not be written.
    #[error("{path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes a key (ECDSA P-256) and a self-signed certificate for it, valid for ten years.
///
/// # Errors
/// When the name does not do, or the system gives no randomness.
pub fn generate(name: &str) -> Result<Generated, KeyError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_LEN_MAX || name.starts_with('.') || !name.chars().all(fits) {
        return Err(KeyError::Name(name.to_owned()));
    }
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        rcgen::ExtendedKeyUsagePurpose::ServerAuth,
        rcgen::ExtendedKeyUsagePurpose::ClientAuth,
    ];
    // A day back: the other chassis' clock may be behind.
    let now = SystemTime::now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + DAY * u32::try_from(VALID_DAYS).unwrap_or(u32::MAX)).into();
    let certificate = params.self_signed(&key)?;
    Ok(Generated {
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
        fingerprint: Fingerprint::of(certificate.der()),
    })
}

/// Makes a certificate and writes `NAME.crt` and `NAME.key` into a directory that is there.
///
/// # Errors
/// When one of the files exists already, or cannot be written: then neither is left behind.
pub fn write(directory: &Path, name: &str) -> Result<Written, KeyError> {
    let made = generate(name)?;
    let certificate = directory.join(format!("{name}.crt"));
    let key = directory.join(format!("{name}.key"));
    if certificate.exists() {
        return Err(KeyError::Exists(certificate));
    }
    create(&key, 0o600, &made.key_pem)?;
    if let Err(error) = create(&certificate, 0o644, &made.certificate_pem) {
        // It was made a moment ago, and is of no use without its certificate.
        let _removed = fs::remove_file(&key);
        return Err(error);
    }
    Ok(Written {
        certificate,
        key,
        fingerprint: made.fingerprint,
    })
}

/// Writes a new file. The mode is set from the beginning: there is no moment at which others may read a key.
pub(crate) fn create(path: &Path, mode: u32, text: &str) -> Result<(), KeyError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
        _ => KeyError::Write {
            path: path.to_owned(),
            source,
        },
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(failed)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _removed = fs::remove_file(path);
        failed(error)
    })
}

/// When a certificate ends; nothing when it cannot be read.
#[must_use]
pub fn expiry(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_rest, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn a_made_certificate_has_its_fingerprint_and_ends_in_ten_years() {
        let made = generate("chassis-1").expect("made");
        let der = CertificateDer::from_pem_slice(made.certificate_pem.as_bytes()).expect("PEM");
        assert_eq!(Fingerprint::of(&der), made.fingerprint);
        let left = expiry(&der)
            .expect("expiry")
            .duration_since(SystemTime::now())
            .expect("later");
        assert!(
            (3650..=3653).contains(&(left.as_secs() / DAY.as_secs())),
            "{left:?}"
        );
        assert!(made.key_pem.contains("PRIVATE KEY"));
        assert_ne!(generate("chassis-1").expect("made").fingerprint, made.fingerprint);
    }

    #[test]
    fn fingerprints_are_read_as_they_are_written_and_as_openssl_writes_them() {
        let made = generate("a").expect("made").fingerprint;
        assert_eq!(made.to_string().parse(), Ok(made));
        let upper = made.to_string().to_uppercase();
        let colons: Vec<&str> = upper
            .as_bytes()
            .chunks(2)
            .map(|o| str::from_utf8(o).expect("hex"))
            .collect();
        assert_eq!(colons.join(":").parse(), Ok(made));
        for wrong in [
            "",
            "00",
            &"g".repeat(64),
            &"0".repeat(63),
            &"0".repeat(66),
            &format!("{}:", "0".repeat(64)),
            "é",
        ] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(NotAFingerprint), "{wrong}");
        }
    }

    #[test]
    fn names_that_would_leave_the_directory_are_refused() {
        for name in ["", ".", "../x", "a/b", "a b", ".hidden", &"a".repeat(65)] {
            assert!(matches!(generate(name), Err(KeyError::Name(_))), "{name}");
        }
    }
}
