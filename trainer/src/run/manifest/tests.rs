//! The bytes of a manifest come back, name the run, and refuse what a run cannot be.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::{Inputs, Resolved};

pub(crate) fn manifest() -> Manifest {
    let settings = Resolved::new(&Inputs::default()).unwrap().settings().unwrap();
    let founders = vec![Founder { peer: PeerId([1; 32]), vrf_key: [2; 32] }];
    Manifest::new(&settings, Parts { founders, data_root: [3; 32], genesis: None }).unwrap()
}

#[test]
fn the_bytes_come_back_and_name_the_run() {
    let manifest = manifest();
    let bytes = manifest.to_bytes();
    assert_eq!(Manifest::from_bytes(&bytes).unwrap(), manifest);
    assert_eq!(bytes, manifest.to_bytes());
    assert_ne!(Manifest::run_id(&bytes), Manifest::run_id(&bytes[1..]));
}

#[test]
fn a_run_of_this_format_keeps_its_name() {
    let name = "7465cbc6aa3fffc122fef18b1305971931ece4667605edd1cd8b5c9c8a97e057";
    assert_eq!(Manifest::run_id(&manifest().to_bytes()).to_string(), name, "other bytes are another format");
}

#[test]
fn a_manifest_of_another_format_says_that_another_version_made_it() {
    let mut bytes = manifest().to_bytes();
    assert_eq!(bytes[..8], *format!("murmurM{FORMAT}").as_bytes(), "the first bytes tell the format");
    bytes[7] = b'3';
    let error = Manifest::from_bytes(&bytes).unwrap_err().to_string();
    assert!(error.contains("another version of murmur") && error.contains("format is 3"), "{error}");
}

#[test]
fn any_spoilt_byte_is_read_or_refused_never_a_panic() {
    let bytes = manifest().to_bytes();
    for at in 0..bytes.len() {
        let mut bent = bytes.clone();
        bent[at] ^= 0x41;
        let _ = Manifest::from_bytes(&bent);
        let _ = Manifest::from_bytes(&bytes[..at]);
    }
}

#[test]
fn the_default_is_exact_and_the_profile_is_the_same_for_all() {
    let exact = manifest();
    assert_eq!(exact.numeric(), Ok(Numeric::Exact));
    let sets = vec!["numeric=class".to_owned()];
    let settings = Resolved::new(&Inputs { sets, ..Inputs::default() }).unwrap().settings().unwrap();
    let parts = Parts { founders: exact.rules.founders.clone(), data_root: [3; 32], genesis: None };
    let class = Manifest::new(&settings, parts).unwrap();
    assert_eq!(Manifest::from_bytes(&class.to_bytes()).unwrap().numeric(), Ok(Numeric::Class));
    assert_ne!(Manifest::run_id(&class.to_bytes()), Manifest::run_id(&exact.to_bytes()));
}

#[test]
fn an_unknown_profile_and_one_that_the_rules_deny_are_refused() {
    let read = |manifest: Manifest| Manifest::from_bytes(&manifest.to_bytes());
    let unknown = read(Manifest { profile: "exact/9".to_owned(), ..manifest() }).unwrap_err();
    assert!(unknown.to_string().contains("exact/9"), "{unknown}");
    let denied = read(Manifest { profile: "class".to_owned(), ..manifest() });
    assert!(matches!(denied, Err(ManifestError::Range("rules.class"))), "{denied:?}");
}

#[test]
fn the_seed_gives_the_genesis() {
    let manifest = manifest();
    let mut state = vec![0; manifest.rules.parameter_count()];
    assert!(manifest.write_seeded_state(&mut state));
    assert_eq!(state_root(&state), manifest.genesis.0);
    assert!(!Manifest { genesis: Hash::NONE, ..manifest }.write_seeded_state(&mut state));
}
