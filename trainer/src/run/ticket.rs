//! The ticket: one word that a volunteer pastes to join a run.
//!
//! `murmur1` followed by lower-case base32 (RFC 4648 alphabet, no padding) of, in order: version, one byte; run id, 32
//! bytes; number of addresses, one byte, 1 to 8; each address as 4 or 6 (one byte), the IP (4 or 16 bytes) and
//! the port (2 bytes, big-endian); and the first four bytes of the BLAKE3 hash of all before. Equal tickets have equal
//! text: there is exactly one way to write each.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use data_encoding::BASE32_NOPAD;

/// What tickets of every format start with; a digit follows.
const FAMILY: &str = "murmur";
/// What every ticket of this format starts with.
const PREFIX: &str = "murmur1";
/// The first byte of a ticket's content.
const VERSION: u8 = 1;
/// How many addresses fit.
pub const ADDRESSES_MAX: usize = 8;
/// Longest text: prefix and base32 of version, run id, count, eight IPv6 addresses and checksum.
const TEXT_BYTES_MAX: usize = PREFIX.len() + (1 + 32 + 1 + ADDRESSES_MAX * 19 + 4) * 8 / 5 + 1;
const CHECKSUM_BYTES: usize = 4;

/// A run and a few peers that were in it when the ticket was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    run_id: [u8; 32],
    addresses: Vec<SocketAddr>,
}

/// Why a text is not a ticket, in words for the person who pasted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Something else was pasted.
    #[error("this is not a ticket: a ticket starts with `{PREFIX}`")]
    NotATicket,
    /// Longer than any ticket.
    #[error("this is too long for a ticket; perhaps two were pasted together")]
    TooLong,
    /// A character no ticket has.
    #[error("mistyped: `{0}` at position {1} never occurs in a ticket")]
    Character(char, usize),
    /// The end is missing.
    #[error("cut short: the end of the ticket is missing")]
    CutShort,
    /// The checksum is not that of the content.
    #[error("mistyped: some characters are wrong, the checksum does not fit")]
    Checksum,
    /// Made by a later version of murmur.
    #[error("made by a newer murmur: its format is {0}, this program reads {VERSION}")]
    Version(u8),
    /// The checksum fits, and yet the content makes no sense.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// More addresses than fit, when making a ticket.
    #[error("a ticket holds 1 to {ADDRESSES_MAX} addresses, not {0}")]
    AddressCount(usize),
}

impl Ticket {
    /// A ticket for `run_id` with the addresses of peers to try, in order. IPv6 scope and flow are not kept, and an IPv4
    /// address in the form of IPv6 is named as what it is.
    ///
    /// # Errors
    /// [`TicketError::AddressCount`] unless there are 1 to 8 addresses.
    pub fn new(run_id: [u8; 32], addresses: &[SocketAddr]) -> Result<Self, TicketError> {
        if !(1..=ADDRESSES_MAX).contains(&addresses.len()) {
            return Err(TicketError::AddressCount(addresses.len()));
        }
        let plain = |address: &SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Ok(Self { run_id, addresses: addresses.iter().map(plain).collect() })
    }

    /// Hash of the run's manifest.
    pub fn run_id(&self) -> [u8; 32] {
        self.run_id
    }

    /// Peers to try, 1 to 8.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.run_id);
        bytes.push(u8::try_from(self.addresses.len()).expect("at most eight addresses"));
        for address in &self.addresses {
            match address.ip() {
                IpAddr::V4(ip) => bytes.extend([4].into_iter().chain(ip.octets())),
                IpAddr::V6(ip) => bytes.extend([6].into_iter().chain(ip.octets())),
            }
            bytes.extend(address.port().to_be_bytes());
        }
        bytes.extend(checksum(&bytes));
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, TicketError> {
        match *bytes.first().ok_or(TicketError::CutShort)? {
            0 => return Err(TicketError::Malformed("there was no format 0")),
            VERSION => {}
            later => return Err(TicketError::Version(later)),
        }
        let (content, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(TicketError::CutShort)?;
        let parsed = parse(content.get(1..).ok_or(TicketError::CutShort)?);
        if checksum(content) == *sum { parsed } else { Err(blame(&parsed)) }
    }
}

/// What is wrong with a text that does not start as tickets of this format do. `murmur2…` is a ticket of a later one.
fn foreign(text: &str) -> TicketError {
    let family = text.get(..FAMILY.len()).filter(|start| start.eq_ignore_ascii_case(FAMILY));
    let digit = family.and(text.as_bytes().get(FAMILY.len())).filter(|byte| (b'2'..=b'9').contains(byte));
    digit.map_or(TicketError::NotATicket, |digit| TicketError::Version(digit - b'0'))
}

/// What is wrong with more text than a ticket of this format has: a later format may be longer, and says so first.
fn too_long(body: &str) -> TicketError {
    let first = body.get(..8).and_then(|start| BASE32_NOPAD.decode(start.to_uppercase().as_bytes()).ok());
    match first.as_deref() {
        Some(&[later, ..]) if later > VERSION => TicketError::Version(later),
        Some(_) | None => TicketError::TooLong,
    }
}

/// With a wrong checksum, content that ends too early was cut short; anything else was mistyped.
fn blame(parsed: &Result<Ticket, TicketError>) -> TicketError {
    match parsed {
        Err(TicketError::CutShort) => TicketError::CutShort,
        Ok(_) | Err(_) => TicketError::Checksum,
    }
}

/// Reads run id and addresses, and nothing after them.
fn parse(mut content: &[u8]) -> Result<Ticket, TicketError> {
    let run_id = take(&mut content)?;
    let [count] = take(&mut content)?;
    if !(1..=ADDRESSES_MAX).contains(&usize::from(count)) {
        return Err(TicketError::Malformed("the number of addresses is not 1 to 8"));
    }
    let addresses = (0..count).map(|_| take_address(&mut content)).collect::<Result<_, _>>()?;
    if content.is_empty() { Ok(Ticket { run_id, addresses }) } else { Err(TicketError::Malformed("too many bytes")) }
}

fn take_address(content: &mut &[u8]) -> Result<SocketAddr, TicketError> {
    let ip = match take::<1>(content)? {
        [4] => IpAddr::from(Ipv4Addr::from(take::<4>(content)?)),
        [6] => IpAddr::from(Ipv6Addr::from(take::<16>(content)?)),
        _ => return Err(TicketError::Malformed("an address is neither IPv4 nor IPv6")),
    };
    Ok(SocketAddr::new(ip, u16::from_be_bytes(take(content)?)))
}

fn take<const N: usize>(content: &mut &[u8]) -> Result<[u8; N], TicketError> {
    let (head, rest) = content.split_first_chunk().ok_or(TicketError::CutShort)?;
    *content = rest;
    Ok(*head)
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = blake3::hash(content);
    let [a, b, c, d, ..] = *hash.as_bytes();
    [a, b, c, d]
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&self.to_bytes()).to_lowercase())
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    /// Reads a ticket, with white space around it and in capitals if need be.
    fn from_str(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        let body = text.get(..PREFIX.len()).filter(|start| start.eq_ignore_ascii_case(PREFIX));
        let body = body.and_then(|start| text.get(start.len()..)).ok_or_else(|| foreign(text))?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(too_long(body));
        }
        let wrong = |character: &(usize, char)| !matches!(character.1, 'a'..='z' | 'A'..='Z' | '2'..='7');
        if let Some((index, character)) = body.char_indices().find(wrong) {
            return Err(TicketError::Character(character, PREFIX.len() + index + 1));
        }
        // Letters are right, so what base32 refuses is a length or left-over bits that no whole ticket has.
        let bytes = BASE32_NOPAD.decode(body.to_uppercase().as_bytes()).map_err(|_| TicketError::CutShort)?;
        Self::from_bytes(&bytes)
    }
}

#[cfg(test)]
mod tests;
