//! A ticket reads back as itself, and nothing else reads as a ticket.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)];
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn ticket() -> impl Strategy<Value = Ticket> {
    (any::<[u8; 32]>(), prop::collection::vec(address(), 1..=ADDRESSES_MAX))
        .prop_map(|(run_id, addresses)| Ticket::new(run_id, &addresses).unwrap())
}

fn encode(content: &[u8]) -> String {
    let bytes = [content, &checksum(content)].concat();
    format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_lowercase())
}

fn example() -> Ticket {
    Ticket::new([7; 32], &["127.0.0.1:4500".parse().unwrap(), "[::1]:4501".parse().unwrap()]).unwrap()
}

proptest! {
    #[test]
    fn reading_undoes_writing(ticket in ticket()) {
        let text = ticket.to_string();
        prop_assert!(text.len() <= TEXT_BYTES_MAX);
        prop_assert_eq!(text.parse::<Ticket>(), Ok(ticket.clone()));
        prop_assert_eq!(format!("  {}\n", text.to_uppercase()).parse(), Ok(ticket));
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC*") {
        let _ = text.parse::<Ticket>();
        let _ = format!("{PREFIX}{text}").parse::<Ticket>();
    }

    #[test]
    fn any_content_with_a_right_checksum_reads_as_at_most_itself(content in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = encode(&content);
        if let Ok(ticket) = text.parse::<Ticket>() {
            prop_assert_eq!(ticket.to_string(), text);
        }
    }

    #[test]
    fn every_cut_is_noticed(ticket in ticket(), keep in 0.0..1.0) {
        let text = ticket.to_string();
        let cut = (text.len() as f64 * keep) as usize;
        prop_assert!(text[..cut].parse::<Ticket>().is_err());
    }

    #[test]
    fn every_mistyped_character_is_noticed(ticket in ticket(), place in any::<prop::sample::Index>()) {
        let mut text = ticket.to_string().into_bytes();
        let place = PREFIX.len() + place.index(text.len() - PREFIX.len());
        text[place] = if text[place] == b'a' { b'b' } else { b'a' };
        prop_assert!(String::from_utf8(text).unwrap().parse::<Ticket>().is_err());
    }
}

#[test]
fn the_text_is_pinned() {
    let ticket = Ticket::new([0; 32], &["10.0.0.1:4500".parse().unwrap()]).unwrap();
    let text = ticket.to_string();
    assert_eq!(text, "murmur1aeaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaiebiaaaairsrlqg4ym");
}

#[test]
fn each_mistake_is_named() {
    let text = example().to_string();
    let parse = |text: &str| text.parse::<Ticket>().unwrap_err();
    assert_eq!(parse("hello"), TicketError::NotATicket);
    assert_eq!(parse(""), TicketError::NotATicket);
    assert_eq!(parse("murmu\u{e9}1"), TicketError::NotATicket);
    assert_eq!(parse(PREFIX), TicketError::CutShort);
    assert_eq!(parse(&format!("{PREFIX}aeaaaaa")), TicketError::CutShort, "no more than a checksum");
    assert_eq!(parse(&text[..60]), TicketError::CutShort);
    assert_eq!(parse(&format!("{PREFIX}ae0")), TicketError::Character('0', 10));
    assert_eq!(parse(&format!("{text}{text}{text}{text}")), TicketError::TooLong);
    let mut mistyped = text.clone();
    mistyped.replace_range(20..21, if &text[20..21] == "b" { "c" } else { "b" });
    assert_eq!(parse(&mistyped), TicketError::Checksum);
    assert_eq!(parse(&encode(&[9; 40])), TicketError::Version(9));
    let no_address = [&[VERSION][..], &[7; 32], &[0]].concat();
    assert!(matches!(parse(&encode(&no_address)), TicketError::Malformed(_)));
    let nine = [&[VERSION][..], &[7; 32], &[9], &[4, 1, 1, 1, 1, 0, 1].repeat(9)].concat();
    assert!(matches!(parse(&encode(&nine)), TicketError::Malformed(_)));
}

#[test]
fn a_ticket_of_a_later_format_is_known_as_one_by_its_start_or_its_first_byte() {
    let parse = |text: &str| text.parse::<Ticket>().unwrap_err();
    assert_eq!(parse("murmur2qxyz"), TicketError::Version(2));
    assert_eq!(parse(" MURMUR9\n"), TicketError::Version(9));
    assert_eq!(parse(&format!("murmur3{}", "q".repeat(2 * TEXT_BYTES_MAX))), TicketError::Version(3));
    let long = encode(&[&[2][..], &[7; 300]].concat());
    assert!(long.len() > TEXT_BYTES_MAX);
    assert_eq!(parse(&long), TicketError::Version(2));
    assert_eq!(parse("murmur0abc"), TicketError::NotATicket);
    assert_eq!(parse("murmuration"), TicketError::NotATicket);
    assert!(matches!(parse(&encode(&[0; 40])), TicketError::Malformed(_)));
    assert!(TicketError::Version(2).to_string().contains("made by a newer murmur"));
}

#[test]
fn a_ticket_holds_one_to_eight_addresses() {
    let address = "10.0.0.1:1".parse().unwrap();
    assert_eq!(Ticket::new([0; 32], &[]), Err(TicketError::AddressCount(0)));
    assert_eq!(Ticket::new([0; 32], &[address; 9]), Err(TicketError::AddressCount(9)));
}

#[test]
fn an_ipv4_address_in_the_form_of_ipv6_is_named_as_what_it_is() {
    let ticket = Ticket::new([0; 32], &["[::ffff:10.0.0.1]:4500".parse().unwrap()]).unwrap();
    assert_eq!(ticket.addresses(), ["10.0.0.1:4500".parse::<SocketAddr>().unwrap()]);
}
