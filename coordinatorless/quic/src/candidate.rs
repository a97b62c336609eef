//! A connection that passed its handshake and awaits the decision of the registry.

use murmur_collectives::PeerId;
use rustls::pki_types::CertificateDer;

use crate::certificate::peer_id_of;

/// A connection that passed its handshake.
pub(crate) struct Candidate {
    pub(crate) peer: PeerId,
    pub(crate) connection: quinn::Connection,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) dialed: bool,
    /// The relay that forwards its packets; `None` if it is direct.
    pub(crate) relay: Option<PeerId>,
}

impl Candidate {
    /// Reads the identity of the other peer from its certificate.
    ///
    /// # Errors
    ///
    /// The certificate is not a peer's; the handshake has checked it, so this does not happen.
    pub(crate) fn new(
        connection: quinn::Connection,
        dialed: bool,
        relay: Option<PeerId>,
    ) -> Result<Self, rustls::Error> {
        let shown = connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
        let certificate =
            shown.and_then(|chain| chain.first().cloned()).ok_or(rustls::Error::NoCertificatesPresented)?;
        Ok(Self { peer: peer_id_of(&certificate)?, connection, certificate, dialed, relay })
    }
}
