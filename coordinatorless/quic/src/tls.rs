//! The TLS and QUIC settings of both sides: TLS 1.3 only, certificates from both, one protocol version, no resumption.
//!
//! Sessions are not resumed and there is no early data: a resumed session would take the identity from a cache, and early
//! data can be replayed. A full handshake costs about 8 kB in both directions together, the first MTU probes included.

use std::sync::Arc;

use murmur_collectives::{Identity, PeerId};
use quinn::{
    TransportErrorCode,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    AlertDescription,
    client::{ClientConfig, Resumption, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::CertificateDer,
    server::{NoServerSessionStorage, ServerConfig},
    version::TLS13,
};

use crate::{
    alpn::ALPN,
    certificate::Credentials,
    config::TransportConfig,
    error::BindError,
    verifier::{AcceptVerifier, Possession},
};

/// Incoming handshakes queued for the accept loop, and bytes buffered for each and for all of them.
const INCOMING_MAX: usize = 256;
const INCOMING_BYTES: u64 = 16 * 1024;
const INCOMING_BYTES_TOTAL: u64 = 1024 * 1024;

/// The keys and settings of a transport's handshakes.
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    credentials: Credentials,
    own: PeerId,
    quic: Arc<quinn::TransportConfig>,
    relayed_quic: Arc<quinn::TransportConfig>,
}

impl Tls {
    pub(crate) fn new(identity: &Identity, config: &TransportConfig) -> Result<Self, BindError> {
        let (quic, relayed_quic) = (config.quic()?, config.relayed_quic()?);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let credentials = Credentials::new(identity, provider.secure_random)?;
        Ok(Self { provider, credentials, own: identity.peer_id(), quic, relayed_quic })
    }

    /// The certificate of this process.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.credentials.certificate.clone()
    }

    pub(crate) fn possession(&self) -> Possession {
        Possession(self.provider.signature_verification_algorithms)
    }

    /// The settings of one dial, with its own verifier.
    pub(crate) fn dialing(
        &self,
        verifier: Arc<dyn ServerCertVerifier>,
        relayed: bool,
    ) -> Result<quinn::ClientConfig, rustls::Error> {
        let mut tls = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(self.chain(), self.credentials.key.clone_key().into())?;
        tls.alpn_protocols = vec![ALPN.into()];
        tls.enable_sni = false;
        tls.resumption = Resumption::disabled();
        let mut config = quinn::ClientConfig::new(Arc::new(initial_suite(QuicClientConfig::try_from(tls))?));
        config.transport_config(self.parameters(relayed));
        Ok(config)
    }

    fn parameters(&self, relayed: bool) -> Arc<quinn::TransportConfig> {
        if relayed { self.relayed_quic.clone() } else { self.quic.clone() }
    }

    /// The settings of accepted connections: of relayed ones, or of direct ones.
    pub(crate) fn accepting(&self, relayed: bool) -> Result<quinn::ServerConfig, rustls::Error> {
        let verifier = AcceptVerifier { possession: self.possession(), own: self.own };
        let mut tls = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(self.chain(), self.credentials.key.clone_key().into())?;
        tls.alpn_protocols = vec![ALPN.into()];
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
        let crypto = initial_suite(QuicServerConfig::try_from(tls))?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config
            .transport_config(self.parameters(relayed))
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size(INCOMING_BYTES)
            .incoming_buffer_size_total(INCOMING_BYTES_TOTAL);
        Ok(config)
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate()]
    }
}

fn initial_suite<T, E: std::fmt::Display>(config: Result<T, E>) -> Result<T, rustls::Error> {
    config.map_err(|error| rustls::Error::General(error.to_string()))
}

/// The TLS alert in a QUIC error code (RFC 9001 §4.8), if it carries one.
pub(crate) fn alert(code: TransportErrorCode) -> Option<AlertDescription> {
    let code = u64::from(code);
    u8::try_from(code & 0xff).ok().filter(|_| code >> 8 == 1).map(AlertDescription::from)
}
