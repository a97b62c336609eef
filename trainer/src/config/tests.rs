//! Which place wins, what every error says, and that the table and the typed settings agree.
#![allow(clippy::unwrap_used)]

use super::{resolve::nearest, *};
use crate::error::{Exit, Failure};

fn file(text: &str) -> Inputs {
    let file = RunFile { name: "run.toml".into(), text: text.into(), folder: "/the/file's".into() };
    Inputs { file: Some(file), folder: "/the/shell's".into(), ..Inputs::default() }
}

fn set(arguments: &[&str]) -> Inputs {
    Inputs { sets: arguments.iter().map(|&argument| argument.to_owned()).collect(), ..Inputs::default() }
}

fn variables(variables: &[(&str, &str)]) -> Inputs {
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Inputs { environment, ..Inputs::default() }
}

fn refused(inputs: &Inputs) -> Failure {
    let failure = Resolved::new(inputs).and_then(|resolved| resolved.settings()).unwrap_err();
    assert_eq!(failure.exit(), Exit::Config);
    failure
}

#[test]
fn every_default_parses_and_the_defaults_fit_together() {
    let settings = Resolved::new(&Inputs::default()).unwrap().settings().unwrap();
    assert_eq!(settings.data.path, None);
    assert!(settings.segment_tokens() <= settings.run.tokens);
}

#[test]
fn every_key_is_documented_and_named_once() {
    let mut names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    assert!(KEYS.iter().all(|key| key.doc.len() > 30 && key.doc.ends_with('.') && !key.doc.contains("  ")));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), KEYS.len());
}

#[test]
fn a_later_place_wins_and_is_named() {
    let mut inputs = file("[train]\nlr = 0.1\n");
    let lr = key("train.lr").unwrap();
    let mut expect = |change: &dyn Fn(&mut Inputs), value: f64, source: &str| {
        change(&mut inputs);
        let resolved = Resolved::new(&inputs).unwrap();
        assert_eq!(resolved.settings().unwrap().train.lr, value);
        assert_eq!(resolved.entry(lr).1.to_string(), source);
    };
    expect(&|_| (), 0.1, "run.toml, line 2");
    let variable = ("MURMUR_TRAIN__LR".to_owned(), "0.2".to_owned());
    expect(&|inputs| inputs.environment.push(variable.clone()), 0.2, "environment variable MURMUR_TRAIN__LR");
    expect(&|inputs| inputs.sets.push("train.lr=0.3".into()), 0.3, "--set");
    expect(&|inputs| inputs.flags.push(("--lr", "train.lr", "0.4".into())), 0.4, "--lr");
}

#[test]
fn an_unknown_key_names_the_nearest_and_the_place() {
    let failure = refused(&file("seed = 1\n[train]\nlearning_rate = 1\nlr = 2\n"));
    assert!(failure.sentence().contains("run.toml, line 3"), "{}", failure.sentence());
    let failure = refused(&set(&["trian.lr=1"]));
    assert!(failure.sentence().contains("the nearest is `train.lr`: in --set"), "{}", failure.sentence());
    let failure = refused(&variables(&[("MURMUR_TRIAN__LR", "1")]));
    assert!(failure.sentence().contains("MURMUR_TRIAN__LR"));
    assert!(failure.render().contains("MURMUR_TRAIN__LR"));
}

#[test]
fn the_nearest_key_is_the_one_meant() {
    let meant = [
        ("lr", "train.lr"),
        ("top", "compress.top"),
        ("train.bacth", "train.batch"),
        ("model.dmodel", "model.d_model"),
        ("tokens", "run.tokens"),
        ("audits.rate", "audit.rate"),
        ("sede", "seed"),
    ];
    for (given, expected) in meant {
        assert_eq!(nearest(given), expected);
    }
}

#[test]
fn an_impossible_value_says_key_value_allowed_and_place() {
    let failure = refused(&set(&["compress.top=8"]));
    assert_eq!(failure.sentence(), "`compress.top` cannot be `8`: too small: in --set");
    assert!(failure.render().contains("from 16 to 4096"));
    let failure = refused(&file("[model]\nlayers = true\n"));
    assert!(failure.sentence().contains("`model.layers` cannot be `true`"), "{}", failure.sentence());
    assert!(failure.sentence().contains("run.toml, line 2"));
    assert!(refused(&file("[model]\nlayers = -4\n")).sentence().contains("`-4`"));
    let failure = refused(&set(&["numeric=fast"]));
    assert_eq!(failure.sentence(), "`numeric` cannot be `fast`: no such choice: in --set");
    assert!(failure.render().contains("Allowed is exact or class."));
    assert!(refused(&set(&["train.lr"])).sentence().contains("key=value"));
}

#[test]
fn settings_that_do_not_fit_name_each_other() {
    let failure = refused(&set(&["model.heads=5"]));
    let sentence = failure.sentence();
    assert!(sentence.contains("model.heads = 5 (--set)"), "{sentence}");
    assert!(sentence.contains("(default)"), "{sentence}");
    assert!(refused(&set(&["run.tokens=10"])).sentence().contains("more than the whole run"));
    let sentence = refused(&set(&["run.tokens=4096M", "finality.every=999999"])).sentence();
    assert!(sentence.contains("finality.every must be 0, or at least 1000000"), "{sentence}");
    let fitting = |every: &str| Resolved::new(&set(&["run.tokens=4096M", every])).unwrap().settings().is_ok();
    assert!(fitting("finality.every=1M") && fitting("finality.every=0"));
    let every = |tokens: &str| Resolved::new(&set(&[tokens])).unwrap().settings().unwrap().finality.every;
    assert_eq!((every("run.tokens=1M"), every("run.tokens=4096M")), (200_000, 1_000_000), "the default follows");
    assert!(refused(&set(&["net.announce=example.org"])).sentence().contains("net.announce"));
}

#[test]
fn densities_are_a_number_or_a_range_within_which_peers_choose() {
    let densities = |sets: &[&str]| {
        let sets = sets.iter().map(|&set| set.to_owned()).collect();
        let compress = Resolved::new(&Inputs { sets, ..Inputs::default() }).unwrap().settings().unwrap().compress;
        (compress.top, compress.top_max)
    };
    assert_eq!(densities(&[]), (64, 4096));
    assert_eq!(densities(&["compress.top_max=1000"]), (64, 1000));
    assert_eq!(densities(&["compress.top_max=32"]), (32, 32));
    assert_eq!(densities(&["compress.top=256", "compress.top_max=1000"]), (256, 256));
}

#[test]
fn steps_are_a_number_or_a_range_within_which_peers_choose() {
    let steps = |sets: &[&str]| {
        let train = Resolved::new(&set(sets)).unwrap().settings().unwrap().train;
        (train.steps, train.steps_max)
    };
    assert_eq!(steps(&[]), (5, 100));
    assert_eq!(steps(&["train.steps=20"]), (20, 20));
    assert_eq!(steps(&["train.steps=20", "train.steps_max=30"]), (20, 20));
    assert_eq!(steps(&["train.steps=auto", "train.steps_max=30"]), (5, 30));
    assert_eq!(steps(&["train.steps_max=3"]), (3, 3));
    assert!(
        refused(&set(&["train.steps=few"])).render().contains("Allowed is auto, or a whole number from 1 to 65536.")
    );
}

#[test]
fn other_variables_are_left_alone() {
    let resolved =
        Resolved::new(&variables(&[("MURMUR_LOG", "debug"), ("MURMUR_SIMD", "avx2"), ("HOME", "/")])).unwrap();
    assert_eq!(resolved.ignored_variables(), None);
}

#[test]
fn variables_of_a_service_called_murmur_are_ignored_and_named_once() {
    let inputs = variables(&[
        ("MURMUR_PORT", "tcp://10.0.0.1:4500"),
        ("MURMUR_SERVICE_HOST", "10.0.0.1"),
        ("MURMUR_PORT_4500_TCP_ADDR", "10.0.0.1"),
        ("MURMUR_SEED", "7"),
        ("MURMUR_TRAIN_LR", "1"),
    ]);
    let resolved = Resolved::new(&inputs).unwrap();
    let note = resolved.ignored_variables().unwrap();
    assert!(note.contains("MURMUR_PORT, MURMUR_SERVICE_HOST, MURMUR_PORT_4500_TCP_ADDR, MURMUR_TRAIN_LR"), "{note}");
    assert!(note.contains("did you mean MURMUR_TRAIN__LR?") && !note.contains("MURMUR_SEED"), "{note}");
    assert_eq!(resolved.settings().unwrap().seed, 7, "what is ours counts");
}

#[cfg(unix)]
#[test]
fn a_variable_of_ours_that_is_not_text_is_named_and_a_path_need_not_be() {
    let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"/caf\xE9");
    let text = path_text::to_text(odd);
    for name in ["MURMUR_SEED", "MURMUR_TRAIN__LR", "MURMUR_NET__ANNOUNCE", "MURMUR_LOG"] {
        let sentence = refused(&variables(&[(name, &text)])).sentence();
        assert!(sentence.contains(name) && sentence.contains("not UTF-8"), "{sentence}");
    }
    let settings = Resolved::new(&variables(&[("MURMUR_DATA__PATH", &text)])).unwrap().settings().unwrap();
    assert_eq!(settings.data.path, Some(odd.into()));
}

#[cfg(unix)]
#[test]
fn a_relative_path_is_read_from_where_it_was_written() {
    let path = |inputs: &Inputs| Resolved::new(inputs).unwrap().settings().unwrap().data.path.unwrap();
    let mut inputs = file("[data]\npath = \"./rel/x\"\n");
    assert_eq!(path(&inputs), std::path::Path::new("/the/file's/rel/x"));
    inputs.environment.push(("MURMUR_DATA__PATH".to_owned(), "rel/y".to_owned()));
    assert_eq!(path(&inputs), std::path::Path::new("/the/shell's/rel/y"));
    inputs.sets.push("data.path=rel/z".to_owned());
    assert_eq!(path(&inputs), std::path::Path::new("/the/shell's/rel/z"));
    inputs.flags.push(("--data", "data.path", "/abs".to_owned()));
    assert_eq!(path(&inputs), std::path::Path::new("/abs"));
}

#[test]
fn a_joiner_sets_its_own_machine_only() {
    let own = Resolved::new(&set(&["net.listen=0.0.0.0:4500"])).unwrap();
    assert!(own.machine_only("joining").is_ok());
    let failure = Resolved::new(&set(&["train.lr=1"])).unwrap().machine_only("joining").unwrap_err();
    assert!(failure.sentence().contains("`train.lr` belongs to the run"));
}

#[test]
fn what_was_given_for_the_machine_can_be_given_again() {
    let sets = ["net.listen=[::]:9", "data.path=/a b/c", "train.lr=0.1"];
    let kept = Resolved::new(&set(&sets)).unwrap().machine_given();
    assert_eq!(kept, ["data.path=/a b/c", "net.listen=[::]:9"]);
    let again = Resolved::new(&Inputs { sets: kept, ..Inputs::default() }).unwrap();
    assert_eq!(again.settings().unwrap().net.listen.to_string(), "[::]:9");
}

#[test]
fn explain_says_value_source_and_advice_for_every_key() {
    let resolved = Resolved::new(&set(&["train.lr=0.5"])).unwrap();
    for key in KEYS.iter() {
        let page = page(key.name, &resolved).unwrap();
        assert!(page.contains(key.doc) && page.contains(&key.variable()));
        assert!(list(&resolved).contains(key.name));
    }
    let text = page("train.lr", &resolved).unwrap();
    let default = format!("default   {}", key("train.lr").unwrap().default);
    assert!(text.contains("0.5") && text.contains("--set") && text.contains(&default), "{text}");
    let object = page_json("train.lr", &resolved).unwrap();
    assert_eq!(object["schema"], "murmur.setting/1");
    assert_eq!(object["value"], 0.5);
    assert_eq!(list_json(&resolved).len(), KEYS.len());
    assert!(page("train.lrr", &resolved).unwrap_err().sentence().contains("`train.lr`"));
}
