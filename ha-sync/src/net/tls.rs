//! TLS of the channel: files into configurations, and what a failed handshake means.
//!
//! TLS 1.3 only, with the *ring* provider. No resumption and no tickets: connections are few, and every one shows its
//! certificate.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, Error, InconsistentKeys, RootCertStore, ServerConfig};

use super::endpoint::{Endpoint, EndpointError, Security, Tls, Trust};
use super::failure::Failure;
use super::keys::{self, Fingerprint};
use super::preamble;
use super::status::{Identity, Secured};
use super::verify::{Measure, Unexpected, Verifier};

/// An endpoint whose files have been read: all that [`super::run`] needs.
#[derive(Clone, Debug)]
pub struct Channel {
    pub(super) endpoint: Endpoint,
    pub(super) tls: Option<Arc<Configurations>>,
}

/// TLS configurations for both sides, and whose they are.
#[derive(Debug)]
pub(super) struct Configurations {
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
    pub(super) identity: Identity,
}

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A file cannot be read, or is not PEM with what it should have.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key's file can be read by everybody.
    #[error("{0} can be read or written by everybody; chmod 600 it, and better make a new key")]
    Exposed(PathBuf),
    /// Certificate and key do not belong together, or are not usable.
    #[error("{certificate} with {key}: {reason}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        reason: String,
    },
    /// The authority's file or the peer's name does not do.
    #[error("authority: {0}")]
    Authority(String),
}

impl Channel {
    /// Checks an endpoint and reads its files.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn new(endpoint: Endpoint) -> Result<Self, SetupError> {
        endpoint.check()?;
        let tls = match &endpoint.security {
            Security::Tls(tls) => Some(Arc::new(configurations(tls)?)),
            Security::None => None,
        };
        Ok(Self { endpoint, tls })
    }

    /// This chassis' certificate, with TLS.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.tls.as_ref().map(|tls| &tls.identity)
    }
}

/// Which file of [`Tls`] does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFile {
    /// This chassis' certificate.
    Certificate,
    /// Its key.
    Key,
    /// The authority's certificate.
    Authority,
}

/// Everything that is wrong with the files of a channel, as [`Channel::new`] would find it one after the other.
#[must_use]
pub fn file_faults(tls: &Tls) -> Vec<(TlsFile, SetupError)> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = (certificates(&tls.certificate), private_key(&tls.key));
    let of_pair = match (&chain, &key) {
        (Ok(chain), Ok(key)) => pair_fault(tls, chain, key, &provider),
        _ => None,
    };
    let of_each = [
        (TlsFile::Certificate, chain.err()),
        (TlsFile::Key, key.err()),
        (TlsFile::Authority, measure(&tls.trust, &provider).err()),
    ];
    let of_each = of_each
        .into_iter()
        .filter_map(|(file, error)| Some((file, error?)));
    of_each.chain(of_pair).collect()
}

/// What is wrong with a certificate and a key that were read.
fn pair_fault(
    tls: &Tls,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Option<(TlsFile, SetupError)> {
    let said = |file: TlsFile, error: &Error| {
        let reason = match error {
            Error::InconsistentKeys(_) => "the key is not of this certificate".to_owned(),
            other => other.to_string(),
        };
        let (certificate, key) = (tls.certificate.clone(), tls.key.clone());
        let pair = SetupError::Pair {
            certificate,
            key,
            reason,
        };
        Some((file, pair))
    };
    let signing = match provider.key_provider.load_private_key(key.clone_key()) {
        Ok(signing) => signing,
        Err(error) => return said(TlsFile::Key, &error),
    };
    match CertifiedKey::new(chain.to_vec(), signing).keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => None,
        Err(error @ Error::InconsistentKeys(_)) => said(TlsFile::Key, &error),
        Err(error) => said(TlsFile::Certificate, &error),
    }
}

fn configurations(tls: &Tls) -> Result<Configurations, SetupError> {
    let chain = certificates(&tls.certificate)?;
    let identity = chain
        .first()
        .map(identity_of)
        .ok_or_else(|| empty(&tls.certificate))?;
    let key = private_key(&tls.key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let measure = measure(&tls.trust, &provider)?;
    let verifier = Arc::new(Verifier {
        measure,
        provider: Arc::clone(&provider),
    });
    let mismatch = |error: Error| SetupError::Pair {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        reason: error.to_string(),
    };
    let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(mismatch)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Verifier>::clone(&verifier))
        .with_client_auth_cert(chain.clone(), key.clone_key())
        .map_err(mismatch)?;
    client.resumption = rustls::client::Resumption::disabled();
    client.enable_sni = false;
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(mismatch)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(mismatch)?;
    server.send_tls13_tickets = 0;
    server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Configurations {
        client: Arc::new(client),
        server: Arc::new(server),
        identity,
    })
}

/// By what the peer is known.
fn measure(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Measure, SetupError> {
    let (file, peer_name) = match trust {
        Trust::Fingerprints(list) => return Ok(Measure::Pinned(list.clone())),
        Trust::Authority { file, peer_name } => (file, peer_name),
    };
    let unusable = |reason: String| SetupError::Authority(reason);
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(format!("{}: {error}", file.display())))?;
    }
    let name = ServerName::try_from(peer_name.clone())
        .map_err(|_| unusable(format!("{peer_name:?} is neither a DNS name nor an address")))?;
    Measure::authority(roots, name, provider)
        .map_err(|error| unusable(format!("{}: {error}", file.display())))
}

fn identity_of(certificate: &CertificateDer<'_>) -> Identity {
    Identity {
        fingerprint: Fingerprint::of(certificate),
        expires: keys::expiry(certificate),
    }
}

fn empty(path: &Path) -> SetupError {
    SetupError::File {
        path: path.to_owned(),
        reason: "no certificate in it".to_owned(),
    }
}

fn unreadable(path: &Path, error: &pem::Error) -> SetupError {
    let reason = match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "nothing in PEM format of the kind needed in it".to_owned(),
        other => other.to_string(),
    };
    SetupError::File {
        path: path.to_owned(),
        reason,
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    check_kind(path)?;
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = read.map_err(|error| unreadable(path, &error))?;
    if chain.is_empty() {
        Err(empty(path))
    } else {
        Ok(chain)
    }
}

/// Only a file is opened: a pipe would keep whoever reads it waiting.
fn check_kind(path: &Path) -> Result<std::fs::Metadata, SetupError> {
    let error = |reason: String| SetupError::File {
        path: path.to_owned(),
        reason,
    };
    let metadata = std::fs::metadata(path).map_err(|e| error(e.to_string()))?;
    if metadata.is_file() {
        Ok(metadata)
    } else {
        Err(error("it is not a file".to_owned()))
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, SetupError> {
    let metadata = check_kind(path)?;
    if metadata.permissions().mode() & 0o006 != 0 {
        return Err(SetupError::Exposed(path.to_owned()));
    }
    PrivateKeyDer::from_pem_file(path).map_err(|error| unreadable(path, &error))
}

/// What is shown of a finished handshake.
pub(super) fn secured(connection: &rustls::CommonState) -> Secured {
    let peer = connection
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map(identity_of);
    Secured {
        protocol: "TLS 1.3",
        cipher: connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or("unknown")
            .to_owned(),
        peer,
    }
}

/// What a failure while TLS was being set up, or right after it, means. `first` is what the other end's first octets were.
pub(super) fn meaning(error: io::Error, first: &[u8]) -> Failure {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return Failure::Io(error);
    };
    match tls {
        Error::InvalidCertificate(why) => certificate_meaning(why),
        Error::NoCertificatesPresented => Failure::Unproven("it shows no certificate".to_owned()),
        Error::AlertReceived(alert) => Failure::RefusedByPeer(format!(
            "TLS alert {}",
            alert.as_str().unwrap_or("of unknown kind")
        )),
        _ if preamble::begins(first) => Failure::Plain,
        _ if looks_like_tls(first) => Failure::Handshake(tls.to_string()),
        _ => Failure::Garbage(first.to_vec()),
    }
}

fn certificate_meaning(why: &CertificateError) -> Failure {
    match why {
        CertificateError::Other(other) => match other.0.downcast_ref::<Unexpected>() {
            Some(Unexpected(presented)) => Failure::WrongFingerprint(*presented),
            None => Failure::Untrusted(other.to_string()),
        },
        CertificateError::BadSignature => {
            Failure::Unproven("the signature is not of the certificate's key".to_owned())
        }
        other => Failure::Untrusted(Error::InvalidCertificate(other.clone()).to_string()),
    }
}

/// Whether octets begin as a TLS record does: content type 20 to 23, major version 3 (RFC 8446 section 5.1).
pub(super) fn looks_like_tls(first: &[u8]) -> bool {
    matches!(first, [20..=23, 3, ..])
}
