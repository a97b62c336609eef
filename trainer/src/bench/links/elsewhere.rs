//! Systems without network namespaces.

use std::{convert::Infallible, ffi::OsStr, net::IpAddr, process::Command};

use super::{LinkProfile, NoLinks};

/// Network namespaces, of which there are none here.
#[derive(Debug)]
pub struct Namespaces(Infallible);

impl Namespaces {
    /// Says that there are none.
    ///
    /// # Errors
    /// Always [`NoLinks::Missing`].
    pub fn create(_: LinkProfile, _: usize) -> Result<Self, NoLinks> {
        Err(NoLinks::Missing("only Linux has them".to_owned()))
    }

    /// How packets are shaped, in words.
    pub fn method(&self) -> &'static str {
        match self.0 {}
    }

    /// The address of a peer.
    pub fn address(&self, _: usize) -> IpAddr {
        match self.0 {}
    }

    /// A command that runs `program` as a peer.
    pub fn command(&self, _: usize, _: impl AsRef<OsStr>) -> Command {
        match self.0 {}
    }

    /// The words that run a program as a peer.
    pub fn prefix(&self, _: usize) -> Vec<std::ffi::OsString> {
        match self.0 {}
    }

    /// Bytes of IP packets that a peer has sent.
    pub fn sent_bytes(&self, _: usize) -> Option<u64> {
        match self.0 {}
    }
}
