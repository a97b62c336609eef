//! Endpoints that are not ours: plain quinn, with every rule of the protocol open to be broken.

use std::sync::Arc;

use murmur_collectives::Identity;
use quinn::{
    Endpoint,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    sign::CertifiedKey,
    version::TLS13,
};

use crate::peer::localhost;

const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// What a stranger shows when asked for a certificate.
pub(crate) enum Shows {
    Nothing,
    /// A proper certificate of this secret.
    Its(u8),
    /// The certificate of the first secret, signing with the second.
    Stolen(u8, u8),
}

/// A stranger that dials, offering `alpn`.
pub(crate) fn dialing(alpn: &str, shows: &Shows) -> Endpoint {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(BelievesAnything));
    let mut tls = match shows {
        Shows::Nothing => builder.with_no_client_auth(),
        Shows::Its(secret) => builder.with_client_auth_cert(vec![certificate(*secret)], key(*secret)).unwrap(),
        Shows::Stolen(owner, thief) => {
            let signer = provider().key_provider.load_private_key(key(*thief)).unwrap();
            builder.with_client_cert_resolver(Arc::new(Always(CertifiedKey::new(vec![certificate(*owner)], signer))))
        }
    };
    tls.alpn_protocols = vec![alpn.into()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let mut endpoint = Endpoint::client(localhost()).unwrap();
    endpoint.set_default_client_config(config);
    endpoint
}

/// A stranger that listens, speaking `alpn`, and accepts every handshake until dropped.
pub(crate) fn listening(alpn: &str, secret: u8) -> Endpoint {
    let mut tls = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate(secret)], key(secret))
        .unwrap();
    tls.alpn_protocols = vec![alpn.into()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let endpoint = Endpoint::server(config, localhost()).unwrap();
    let accepting = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            // A dialer that leaves is what these tests are about.
            tokio::spawn(async move { drop(incoming.await) });
        }
    });
    endpoint
}

/// The certificate of the peer with this secret.
fn certificate(secret: u8) -> CertificateDer<'static> {
    let pair = KeyPair::from_der_and_sign_algo(&key(secret), &PKCS_ED25519).unwrap();
    assert_eq!(pair.public_key_raw(), Identity::from_secret(&[secret; 32]).peer_id().0);
    CertificateParams::default().self_signed(&pair).unwrap().into()
}

fn key(secret: u8) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from([&PKCS8_PREFIX[..], &[secret; 32]].concat()).into()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[derive(Debug)]
struct Always(CertifiedKey);

impl ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::new(self.0.clone()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct BelievesAnything;

impl ServerCertVerifier for BelievesAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
