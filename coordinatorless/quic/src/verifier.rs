//! The certificate verifiers of both sides, which TLS calls in the handshake.
//!
//! Both check that the certificate has a valid Ed25519 key, and that the handshake is signed by it (see
//! [`certificate`](crate::certificate) for why that is enough). The dialing side also decides here whether it wants a connection
//! with this peer, because its own certificate is sent next. A process that shows this peer's own key must prove that it holds
//! the key; then the dial ends.

use std::sync::{Arc, OnceLock};

use murmur_collectives::PeerId;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use crate::{certificate::peer_id_of, error::DialError, registry::Registry};

/// Closes the handshake with the alert `access_denied`.
const UNWANTED: Error = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);

/// The part that both verifiers share: the proof of possession of the key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Possession(pub(crate) WebPkiSupportedAlgorithms);

impl Possession {
    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(PeerIncompatible::NoSignatureSchemesInCommon.into());
        }
        verify_tls13_signature(message, certificate, signed, &self.0)
    }
}

/// The peer of a chain of a single certificate; longer ones are refused.
fn peer_id_of_chain(certificate: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<PeerId, Error> {
    if !intermediates.is_empty() {
        return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
    }
    peer_id_of(certificate)
}

/// The verifier of one dial. From the peer's certificate to the end of the dial, no other dial to the same peer succeeds.
#[derive(Debug)]
pub(crate) struct DialVerifier {
    possession: Possession,
    expect: Option<PeerId>,
    /// Whether the path of this dial is direct, not through a relay.
    direct: bool,
    /// The certificate of this process: one with the same key that differs belongs to another process.
    own: CertificateDer<'static>,
    registry: Arc<Registry>,
    /// The peer that the dial reached and claimed, or why it ended here. Set once.
    outcome: OnceLock<Result<PeerId, DialError>>,
}

impl DialVerifier {
    pub(crate) fn new(
        (possession, own): (Possession, CertificateDer<'static>),
        expect: Option<PeerId>,
        direct: bool,
        registry: Arc<Registry>,
    ) -> Self {
        Self { possession, expect, direct, own, registry, outcome: OnceLock::new() }
    }

    /// Whether `certificate` belongs to another process with the identity of this peer.
    fn is_twin(&self, found: PeerId, certificate: &CertificateDer<'_>) -> bool {
        found == self.registry.own() && *certificate != self.own
    }

    /// Why the dial ended here; `None` if it did not.
    pub(crate) fn failure(&self) -> Option<DialError> {
        self.outcome.get().and_then(|outcome| outcome.as_ref().err().cloned())
    }

    /// The dial is over, successful or not: its peer may be dialed again, and it cannot claim a peer any more.
    pub(crate) fn finish(&self) {
        if let Ok(peer) = self.outcome.get_or_init(|| Err(DialError::Stopping)) {
            self.registry.release_dial(*peer);
        }
    }

    fn claim(&self, found: PeerId, certificate: &CertificateDer<'_>) -> Result<PeerId, DialError> {
        match self.expect {
            _ if found == self.registry.own() => Err(DialError::SelfConnection),
            Some(expected) if found != expected => Err(DialError::WrongPeer { expected, found }),
            Some(_) | None => self.registry.claim_dial(found, certificate, self.direct).map(|()| found),
        }
    }
}

impl ServerCertVerifier for DialVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = peer_id_of_chain(end_entity, intermediates)?;
        if self.is_twin(found, end_entity) {
            return Ok(ServerCertVerified::assertion()); // it must first prove that it holds the key
        }
        match self.outcome.get_or_init(|| self.claim(found, end_entity)) {
            Ok(_) => Ok(ServerCertVerified::assertion()),
            Err(_) => Err(UNWANTED),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = self.possession.verify(message, certificate, signed)?;
        if self.is_twin(peer_id_of_chain(certificate, &[])?, certificate) {
            let _ = self.outcome.set(Err(DialError::Twin));
            return Err(UNWANTED);
        }
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// The verifier of every accepted connection.
#[derive(Debug)]
pub(crate) struct AcceptVerifier {
    pub(crate) possession: Possession,
    pub(crate) own: PeerId,
}

impl ClientCertVerifier for AcceptVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if peer_id_of_chain(end_entity, intermediates)? == self.own {
            return Err(UNWANTED);
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.possession.verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
