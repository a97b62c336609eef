//! The certificate of a peer: it carries the Ed25519 key, and is made anew each time a transport is bound.
//!
//! TLS needs a certificate; this project needs only the key in it. So the certificate is self-signed, has no name and no
//! authority, its dates are ignored, and only its public key is read, which is the [`PeerId`].
//!
//! The self-signature is not checked, and need not be. What makes a connection authentic is TLS 1.3's
//! CertificateVerify: a signature by the certificate's key over the whole handshake so far, including that certificate
//! and both sides' fresh key shares. A peer that copies the certificate of another one, or makes one with the public
//! key of another one, cannot make that signature. Nothing else in the certificate is used.
//!
//! The serial number is random, so two processes that run with one identity show different certificates. By that
//! the other side distinguishes a restarted peer from a second dial of the same process.

use ed25519_dalek::VerifyingKey;
use murmur_collectives::{Identity, PeerId};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ED25519, SerialNumber};
use rustls::{
    CertificateError, Error,
    crypto::SecureRandom,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    server::ParsedCertificate,
};

use crate::error::BindError;

/// PKCS#8 v1 of an Ed25519 seed up to the seed itself (RFC 8410 §7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410 §4). DER has no other encoding of it.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Bytes of a certificate's random serial number.
const SERIAL_BYTES: usize = 16;

/// The certificate of a transport, and its private key.
pub(crate) struct Credentials {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivatePkcs8KeyDer<'static>,
}

impl Credentials {
    /// A fresh certificate for `identity`.
    pub(crate) fn new(identity: &Identity, random: &dyn SecureRandom) -> Result<Self, BindError> {
        let key = PrivatePkcs8KeyDer::from([&PKCS8_PREFIX[..], &identity.secret()].concat());
        let certificate =
            self_signed(&key, fresh_serial(random)?).map_err(|e| BindError::Certificate(e.to_string()))?;
        Ok(Self { certificate, key })
    }
}

fn self_signed(key: &PrivatePkcs8KeyDer<'_>, serial: SerialNumber) -> Result<CertificateDer<'static>, rcgen::Error> {
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(key, &PKCS_ED25519)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(serial);
    Ok(params.self_signed(&pair)?.into())
}

fn fresh_serial(random: &dyn SecureRandom) -> Result<SerialNumber, BindError> {
    let mut serial = [0u8; SERIAL_BYTES];
    random.fill(&mut serial).map_err(|_| BindError::Certificate("the system gave no randomness".to_owned()))?;
    // A serial number is a positive integer without leading zeros (RFC 5280 §4.1.2.2).
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&serial))
}

/// The peer whose key a certificate has. The handshake must prove that the other side holds the key.
///
/// # Errors
///
/// The bytes are no X.509 v3 certificate, its key is not Ed25519, or the key is no point of the curve or one of small
/// order (for which anybody can make signatures).
pub(crate) fn peer_id_of(certificate: &CertificateDer<'_>) -> Result<PeerId, Error> {
    let spki = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    let key: [u8; 32] = spki
        .strip_prefix(&SPKI_PREFIX)
        .and_then(|key| key.try_into().ok())
        .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
    match VerifyingKey::from_bytes(&key) {
        Ok(point) if !point.is_weak() => Ok(PeerId(key)),
        Ok(_) | Err(_) => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn credentials(secret: u8) -> Credentials {
        let random = rustls::crypto::ring::default_provider().secure_random;
        Credentials::new(&Identity::from_secret(&[secret; 32]), random).unwrap()
    }

    /// The certificate of secret 1 with its key replaced.
    fn with_key(key: [u8; 32]) -> CertificateDer<'static> {
        let mut der = credentials(1).certificate.to_vec();
        let at = der.windows(12).position(|window| window == SPKI_PREFIX).unwrap() + 12;
        der[at..at + 32].copy_from_slice(&key);
        der.into()
    }

    #[test]
    fn a_certificate_speaks_of_the_identity_it_was_made_from() {
        let expected = Identity::from_secret(&[1; 32]).peer_id();
        assert_eq!(peer_id_of(&credentials(1).certificate).unwrap(), expected);
    }

    #[test]
    fn two_certificates_of_one_identity_differ() {
        assert_ne!(credentials(1).certificate, credentials(1).certificate);
    }

    #[test]
    fn a_key_of_another_algorithm_is_refused() {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = CertificateParams::default().self_signed(&pair).unwrap();
        assert!(peer_id_of(certificate.der()).is_err());
    }

    #[test]
    fn a_weak_key_is_refused() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert!(peer_id_of(&with_key(Identity::from_secret(&[2; 32]).peer_id().0)).is_ok());
        assert!(peer_id_of(&with_key(neutral)).is_err());
        assert!(peer_id_of(&with_key([0; 32])).is_err());
    }

    #[test]
    fn every_truncation_and_every_single_byte_change_is_harmless() {
        let der = credentials(1).certificate.to_vec();
        for cut in 0..der.len() {
            assert!(peer_id_of(&der[..cut].to_vec().into()).is_err());
        }
        let expected = Identity::from_secret(&[1; 32]).peer_id();
        let spki_at = der.windows(12).position(|window| window == SPKI_PREFIX).unwrap();
        for index in spki_at..spki_at + 44 {
            let mut changed = der.clone();
            changed[index] ^= 0x01;
            assert_ne!(peer_id_of(&changed.into()).ok(), Some(expected));
        }
    }
}
