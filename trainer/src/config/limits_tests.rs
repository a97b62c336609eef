//! The table of settings allows what a run can have, and no more: each limit is written once.
#![allow(clippy::unwrap_used)]

use murmur_collectives::{Founder, Hash, PeerId};

use super::{Inputs, KEYS, Key, Kind, Resolved, Scope};
use crate::{
    error::Failure,
    run::manifest::{Manifest, Parts},
};

/// The manifest of a run with these settings, without computing its first parameters.
fn manifest(sets: &[String]) -> Result<Manifest, Failure> {
    let settings = Resolved::new(&Inputs { sets: sets.to_vec(), ..Inputs::default() })?.settings()?;
    let founders = vec![Founder { peer: PeerId([1; 32]), vrf_key: [2; 32] }];
    Ok(Manifest::new(&settings, Parts { founders, data_root: [3; 32], genesis: Some(Hash([4; 32])) })?)
}

/// The least and the most that a bounded number may be, as one would write them.
fn ends(key: &Key) -> Option<[String; 2]> {
    match &key.kind {
        Kind::Whole(range) | Kind::WordOrWhole(_, range) => Some([range.start().to_string(), range.end().to_string()]),
        Kind::Real(range) => Some([range.start().to_string(), range.end().to_string()]),
        Kind::Word(_) | Kind::Text | Kind::Path | Kind::Address => None,
    }
}

/// What must change with a setting because both have to fit together.
fn company(key: &Key, highest: bool) -> Vec<String> {
    let sets: &[&str] = match (key.name, highest) {
        ("run.tokens", false) => &["train.steps=1", "train.batch=1", "model.context=2"],
        ("train.steps" | "train.batch" | "model.context", true) => &["run.tokens=1G"],
        _ => &[],
    };
    sets.iter().map(|&set| set.to_owned()).collect()
}

#[test]
fn every_number_of_a_run_may_be_the_least_and_the_most_that_the_table_allows() {
    for key in KEYS.iter().filter(|key| key.scope == Scope::Run) {
        for (value, highest) in ends(key).into_iter().flatten().zip([false, true]) {
            let set = format!("{}={value}", key.name);
            let sets = [company(key, highest), vec![set.clone()]].concat();
            let refused = manifest(&sets).err().map(|failure| failure.sentence());
            assert_eq!(refused, None, "{set}");
        }
    }
}

#[test]
fn the_largest_step_is_as_large_as_two_settings_make_it() {
    let sets = ["train.batch=4096", "model.context=4096", "run.tokens=1125899906842624", "train.steps=65536"];
    let sets = sets.map(str::to_owned);
    assert_eq!(manifest(&sets).err().map(|failure| failure.sentence()), None);
}

#[test]
fn a_model_of_too_many_parameters_is_refused_by_the_names_of_its_settings() {
    let sets = ["model.layers=64", "model.d_model=4096"].map(str::to_owned);
    let sentence = manifest(&sets).unwrap_err().sentence();
    assert!(sentence.contains("model.layers = 64 (--set)") && sentence.contains("8589934592"), "{sentence}");
}
