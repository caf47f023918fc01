//! Who the other end is: the certificate is one of those configured, or of the configured authority and name; and it has the key.
//!
//! The handshake's signature is checked in both cases by what rustls has for it: a certificate is public, and whoever once
//! connected has a copy.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use super::keys::Fingerprint;

/// What a certificate is measured by.
#[derive(Debug)]
pub(super) enum Measure {
    /// One of these.
    Pinned(Vec<Fingerprint>),
    /// Of this authority, for this name.
    Authority {
        roots: Arc<RootCertStore>,
        clients: Arc<dyn ClientCertVerifier>,
        name: ServerName<'static>,
    },
}

impl Measure {
    /// An authority's.
    pub(super) fn authority(
        roots: RootCertStore,
        name: ServerName<'static>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, rustls::server::VerifierBuilderError> {
        let roots = Arc::new(roots);
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider)).build()?;
        Ok(Self::Authority { roots, clients, name })
    }
}

/// The verifier of both ends.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) measure: Measure,
    pub(super) provider: Arc<CryptoProvider>,
}

/// What [`Failure::WrongFingerprint`](super::Failure::WrongFingerprint) is made of, on its way through rustls.
#[derive(Debug, thiserror::Error)]
#[error("certificate with fingerprint {0}")]
pub(super) struct Unexpected(pub(super) Fingerprint);

fn pinned(expected: &[Fingerprint], end_entity: &CertificateDer<'_>) -> Result<(), Error> {
    let presented = Fingerprint::of(end_entity);
    if expected.contains(&presented) {
        return Ok(());
    }
    let why = OtherError(Arc::new(Unexpected(presented)));
    Err(CertificateError::Other(why).into())
}

impl Verifier {
    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// TLS 1.2 is not offered, and compiled out; should it ever come, it does not pass.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not offered".to_owned()))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.measure {
            Measure::Pinned(expected) => pinned(expected, end_entity)?,
            Measure::Authority { roots, name, .. } => {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                let algorithms = self.provider.signature_verification_algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
                verify_server_name(&parsed, name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // The peer has one certificate: nothing to choose by.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match &self.measure {
            Measure::Pinned(expected) => pinned(expected, end_entity)?,
            Measure::Authority { clients, name, .. } => {
                clients.verify_client_cert(end_entity, intermediates, now)?;
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}
