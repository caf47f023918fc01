//! Who is let in: certificates, fingerprints, an authority, and the wrong ones of each.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use ha_sync::net::{
    Channel, ChannelState, Endpoint, FailureKind, Fingerprint, Security, SetupError, Tls, Trust,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, SignatureScheme};

use crate::node::{Folder, Node, addresses, connect_from, endpoint, last, pair, pinned, talk};

#[test]
fn both_ends_prove_who_they_are_and_talk() {
    let folder = Folder::new("mutual");
    let (low, high) = pair(&folder);
    let (listener, connector) = (Node::start(low), Node::start(high));
    let (low, high) = (
        listener.until_connected().channel,
        connector.until_connected().channel,
    );
    talk(&listener, &connector);
    for (here, there) in [(&low, &high), (&high, &low)] {
        let secured = here.secured.as_ref().expect("TLS");
        assert_eq!(secured.protocol, "TLS 1.3");
        assert!(secured.cipher.starts_with("TLS13_"), "{}", secured.cipher);
        assert_eq!(secured.peer, there.identity);
        let expires = here
            .identity
            .and_then(|identity| identity.expires)
            .expect("expiry");
        assert!(expires > SystemTime::now());
        assert_eq!(here.connected_to.expect("peer").ip(), there.local);
    }
    let ended = connector.stop();
    assert_eq!(ended.channel.state, ChannelState::Stopped);
    let left = listener.until_failed(FailureKind::Closed);
    assert_eq!(left.channel.state, ChannelState::Listening);
    assert_eq!(
        (left.conversation.connects, left.conversation.disconnects),
        (1, 1)
    );
}

/// Starts both and expects that nothing is said, with these failures.
fn part(low: Endpoint, high: Endpoint, at_listener: FailureKind, at_connector: FailureKind) -> (Node, Node) {
    let (listener, connector) = (Node::start(low), Node::start(high));
    let (low, high) = (
        listener.until_failed(at_listener),
        connector.until_failed(at_connector),
    );
    for status in [low, high] {
        assert_eq!(status.conversation.connects, 0);
        assert_eq!(status.channel.counters.connections, 0);
    }
    (listener, connector)
}

#[test]
fn a_wrong_fingerprint_is_refused_and_named_by_either_end() {
    let folder = Folder::new("wrong");
    let (one, two, other) = (folder.keys("one"), folder.keys("two"), folder.keys("other"));
    let (low, high) = addresses();
    let (listener, _connector) = part(
        endpoint(low, high, pinned(&one, other.fingerprint)),
        endpoint(high, low, pinned(&two, one.fingerprint)),
        FailureKind::WrongFingerprint,
        FailureKind::RefusedByPeer,
    );
    let failure = listener.status().channel.last_failure.expect("failure");
    assert!(
        failure.text.contains(&two.fingerprint.to_string()),
        "{}",
        failure.text
    );
    let (low, high) = addresses();
    let (_listener, connector) = part(
        endpoint(low, high, pinned(&one, two.fingerprint)),
        endpoint(high, low, pinned(&two, other.fingerprint)),
        FailureKind::RefusedByPeer,
        FailureKind::WrongFingerprint,
    );
    let failure = connector.until("named", |status| {
        last(status) == Some(FailureKind::WrongFingerprint)
    });
    assert!(
        failure
            .channel
            .last_failure
            .expect("failure")
            .text
            .contains(&one.fingerprint.to_string())
    );
}

#[test]
fn plain_and_tls_find_out_about_each_other() {
    let folder = Folder::new("plain");
    let (low, high) = pair(&folder);
    let plain = |endpoint: &Endpoint| Endpoint {
        security: Security::None,
        ..endpoint.clone()
    };
    drop(part(
        plain(&low),
        high.clone(),
        FailureKind::Encrypted,
        FailureKind::Plain,
    ));
    drop(part(
        low.clone(),
        plain(&high),
        FailureKind::Plain,
        FailureKind::Encrypted,
    ));
    let (listener, connector) = (Node::start(plain(&low)), Node::start(plain(&high)));
    talk(&listener, &connector);
    assert_eq!(listener.status().channel.secured, None);
}

#[test]
fn an_authority_does_instead_of_fingerprints_for_the_right_name() {
    let folder = Folder::new("authority");
    let (low, high) = addresses();
    let ca_key = rcgen::KeyPair::generate().expect("key");
    let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("params");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_file = folder.path().join("ca.crt");
    std::fs::write(&ca_file, ca.self_signed(&ca_key).expect("CA").pem()).expect("written");
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let leaf = |name: &str, peer_name: &str| {
        let key = rcgen::KeyPair::generate().expect("key");
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("params");
        params.extended_key_usages = vec![
            rcgen::ExtendedKeyUsagePurpose::ServerAuth,
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let files = folder.keys(name);
        std::fs::write(
            &files.certificate,
            params.signed_by(&key, &issuer).expect("signed").pem(),
        )
        .expect("written");
        std::fs::write(&files.key, key.serialize_pem()).expect("written");
        let trust = Trust::Authority {
            file: ca_file.clone(),
            peer_name: peer_name.to_owned(),
        };
        Security::Tls(Tls {
            certificate: files.certificate,
            key: files.key,
            trust,
        })
    };
    let (one, two) = (
        leaf("one.example", "two.example"),
        leaf("two.example", "one.example"),
    );
    let third = leaf("three.example", "one.example");
    let listener = Node::start(endpoint(low, high, one));
    let connector = Node::start(endpoint(high, low, two));
    talk(&listener, &connector);
    drop(connector);
    let intruder = Node::start(endpoint(high, low, third));
    listener.until_failed(FailureKind::Untrusted);
    intruder.until_failed(FailureKind::RefusedByPeer);
    assert_eq!(intruder.status().conversation.connects, 0);
}

/// Lets every server in: this end is the attacker.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

#[test]
fn the_right_certificate_without_its_key_does_not_do() {
    let folder = Folder::new("stolen");
    let (one, two, thief) = (folder.keys("one"), folder.keys("two"), folder.keys("thief"));
    let (low, high) = addresses();
    let low = endpoint(low, high, pinned(&one, two.fingerprint));
    let to = SocketAddr::new(low.local, low.port);
    let listener = Node::start(low);

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from_pem_file(&two.certificate).expect("certificate")];
    assert_eq!(Fingerprint::of(&chain[0]), two.fingerprint);
    let key = PrivateKeyDer::from_pem_file(&thief.key).expect("key");
    let key = provider.key_provider.load_private_key(key).expect("key");
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))));
    let mut stream = connect_from(high, to);
    let mut tls = rustls::ClientConnection::new(Arc::new(config), low_name()).expect("client");
    let mut octets = [0; 64];
    let told = rustls::Stream::new(&mut tls, &mut stream).read(&mut octets);
    assert!(told.is_err(), "nothing is said to it: {told:?}");
    let status = listener.until_failed(FailureKind::Unproven);
    assert_eq!(status.conversation.connects, 0);
}

fn low_name() -> ServerName<'static> {
    ServerName::try_from("one").expect("name")
}

#[test]
fn files_that_do_not_do_are_named_before_anything_runs() {
    let folder = Folder::new("files");
    let (one, two) = (folder.keys("one"), folder.keys("two"));
    let (low, high) = addresses();
    let fails = |security: Security| Channel::new(endpoint(low, high, security)).expect_err("refused");
    let tls = |certificate: &std::path::Path, key: &std::path::Path| {
        Security::Tls(Tls {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            trust: Trust::Fingerprints(vec![two.fingerprint]),
        })
    };
    assert!(matches!(
        fails(tls(&one.certificate, &two.key)),
        SetupError::Pair { .. }
    ));
    assert!(matches!(fails(tls(&one.key, &one.key)), SetupError::File { .. }));
    assert!(matches!(
        fails(tls(&one.certificate, &one.certificate)),
        SetupError::Exposed(_)
    ));
    assert!(matches!(
        fails(tls(&folder.path().join("none"), &one.key)),
        SetupError::File { .. }
    ));
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&one.key, open).expect("chmod");
    assert!(matches!(
        fails(tls(&one.certificate, &one.key)),
        SetupError::Exposed(_)
    ));
    let again = ha_sync::net::keys::write(folder.path(), "two").expect_err("there already");
    assert!(matches!(again, ha_sync::net::keys::KeyError::Exists(_)));
}
