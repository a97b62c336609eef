//! Committed bytes of every record on the wire: a change of the format cannot go unnoticed.
//!
//! To change a format on purpose: give it a new version in the transport's protocol name, run the test, and put the text
//! it prints in the file.
#![allow(clippy::unwrap_used)]

mod samples;

use data_encoding::HEXLOWER;
use murmur_collectives::{Entry, WireEntry};
use murmur_coordinatorless::Message;
use samples::{entries, long, messages};

const MESSAGES: &str = include_str!("vectors/messages.hex");
const PACKED: &str = include_str!("vectors/packed.hex");
const ENTRIES: &str = include_str!("vectors/entries.hex");

/// The words of each line of a file of vectors.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(' ').collect())
}

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

fn compare(committed: &str, computed: &str) {
    assert!(committed == computed, "the vectors differ; computed:\n{computed}");
}

#[test]
fn every_message_is_written_as_committed() {
    let line = |(name, message): (&str, Message)| format!("{name} {}\n", HEXLOWER.encode(&message.encode()));
    compare(MESSAGES, &messages().into_iter().map(line).collect::<String>());
}

#[test]
fn every_committed_message_is_read() {
    for (line, (name, message)) in lines(MESSAGES).zip(messages()) {
        assert_eq!(line[0], name);
        let read = Message::decode(&bytes(line[1]));
        assert_eq!(read.as_ref(), Ok(&message), "{name}");
    }
    assert_eq!(lines(MESSAGES).count(), messages().len());
}

#[test]
fn committed_packed_messages_are_read() {
    let line = |(name, message): &(&str, Message)| format!("{name} {}\n", HEXLOWER.encode(&message.encode()));
    let today: String = long().iter().map(line).collect();
    assert_eq!(lines(PACKED).count(), long().len(), "written today:\n{today}");
    for (line, (name, message)) in lines(PACKED).zip(long()) {
        let packed = bytes(line[1]);
        assert_eq!((line[0], packed[0] & 1), (name, 1));
        assert_eq!(Message::decode(&packed).as_ref(), Ok(&message), "{name}");
    }
}

#[test]
fn every_entry_is_written_and_named_as_committed() {
    let line = |(name, entry): (&str, Entry)| {
        let wire = entry.to_wire();
        let (header, signature) = (HEXLOWER.encode(&wire.header), HEXLOWER.encode(&wire.signature));
        format!("{name} {header} {} {signature}\n", entry.hash())
    };
    compare(ENTRIES, &entries().into_iter().map(line).collect::<String>());
}

#[test]
fn every_committed_entry_is_read() {
    for (line, (name, entry)) in lines(ENTRIES).zip(entries()) {
        let wire = WireEntry { header: bytes(line[1]), signature: bytes(line[3]).try_into().unwrap() };
        let read = Entry::check(wire).unwrap();
        assert_eq!((line[0], line[2]), (name, read.hash().to_string().as_str()));
        assert_eq!(read, entry, "{name}");
    }
    assert_eq!(lines(ENTRIES).count(), entries().len());
}
