//! Who is at the other end: the two certificate verifiers that TLS asks.
//!
//! Both check the same two things: that the certificate carries a sound Ed25519 key, and that the handshake is signed
//! by it (see [`certificate`](crate::certificate) for why that is enough). A dialing peer also decides here whether it
//! wants this peer at all, because here is the last moment before it tells who it is itself. Of another process with its own
//! identity it wants the proof, and then nothing more.

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

/// The part that both verifiers share: possession of the key.
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

/// The single certificate that a peer may show.
fn only(certificate: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<PeerId, Error> {
    if !intermediates.is_empty() {
        return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
    }
    peer_id_of(certificate)
}

/// The verifier of one dial. While it lasts no other dial may reach the same peer.
#[derive(Debug)]
pub(crate) struct DialVerifier {
    possession: Possession,
    expect: Option<PeerId>,
    /// Whether the packets of this dial go straight, not through a relay.
    straight: bool,
    /// What this process shows itself: who shows another certificate with the same key is another process.
    own: CertificateDer<'static>,
    registry: Arc<Registry>,
    /// Whom the dial reached and claimed, or why it was given up. Decided once.
    outcome: OnceLock<Result<PeerId, DialError>>,
}

impl DialVerifier {
    pub(crate) fn new(
        (possession, own): (Possession, CertificateDer<'static>),
        expect: Option<PeerId>,
        straight: bool,
        registry: Arc<Registry>,
    ) -> Self {
        Self { possession, expect, straight, own, registry, outcome: OnceLock::new() }
    }

    /// Whether who shows `certificate` would be another process with this peer's own identity.
    fn is_twin(&self, found: PeerId, certificate: &CertificateDer<'_>) -> bool {
        found == self.registry.own() && *certificate != self.own
    }

    /// Why the dial was given up here, if it was.
    pub(crate) fn failure(&self) -> Option<DialError> {
        self.outcome.get().and_then(|outcome| outcome.as_ref().err().cloned())
    }

    /// The dial is over, well or not: whoever it reached may be dialed again. It cannot reach anyone from now on.
    pub(crate) fn finish(&self) {
        if let Ok(peer) = self.outcome.get_or_init(|| Err(DialError::Stopping)) {
            self.registry.release_dial(*peer);
        }
    }

    fn judge(&self, found: PeerId, certificate: &CertificateDer<'_>) -> Result<PeerId, DialError> {
        match self.expect {
            _ if found == self.registry.own() => Err(DialError::SelfConnection),
            Some(expected) if found != expected => Err(DialError::WrongPeer { expected, found }),
            Some(_) | None => self.registry.claim_dial(found, certificate, self.straight).map(|()| found),
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
        let found = only(end_entity, intermediates)?;
        if self.is_twin(found, end_entity) {
            return Ok(ServerCertVerified::assertion()); // until it has proven to hold the key
        }
        match self.outcome.get_or_init(|| self.judge(found, end_entity)) {
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
        if self.is_twin(only(certificate, &[])?, certificate) {
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
        if only(end_entity, intermediates)? == self.own {
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
