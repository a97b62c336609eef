//! A run's folder is found again, and no other folder is touched.
#![allow(clippy::unwrap_used)]

use super::*;

fn identities() -> Vec<Identity> {
    vec![Identity::from_secret(&[1; 32]), Identity::from_secret(&[2; 32])]
}

#[test]
fn a_run_is_found_again() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("deep/run");
    let made = StateDir::create_run(&path, [3; 32], b"manifest", &identities(), vec!["a=b".into()]).unwrap();
    let (found, broken) = StateDir::for_resume(&path).unwrap();
    assert!(broken.is_empty());
    assert_eq!((found.run_id(), found.peers()), ([3; 32], 2));
    assert_eq!(found.machine_settings(), ["a=b"]);
    assert_eq!(fs::read(made.peer(1).join(MANIFEST)).unwrap(), b"manifest");
    let held = identity_file::HeldIdentity::open(&found.peer(1)).unwrap();
    assert_eq!(held.identity().peer_id(), identities()[1].peer_id());
    let (_, broken) = StateDir::for_resume(&path).unwrap();
    assert_eq!(broken.iter().map(|(index, why)| (*index, why.exit())).collect::<Vec<_>>(), [(1, Exit::IdentityInUse)]);
    let _other = identity_file::HeldIdentity::open(&found.peer(0)).unwrap();
    assert_eq!(StateDir::for_resume(&path).unwrap_err().exit(), Exit::IdentityInUse);
}

#[test]
fn a_peer_without_its_identity_does_not_keep_the_others_from_going_on() {
    let root = tempfile::tempdir().unwrap();
    let made = StateDir::create_run(root.path(), [3; 32], b"", &identities(), vec![]).unwrap();
    fs::remove_file(made.peer(0).join("identity")).unwrap();
    let (_, broken) = StateDir::for_resume(root.path()).unwrap();
    assert_eq!(broken.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0]);
    fs::write(made.peer(1).join("identity"), "rubbish").unwrap();
    assert_eq!(StateDir::for_resume(root.path()).unwrap_err().exit(), Exit::Config);
}

#[test]
fn the_folder_of_a_peer_leads_to_its_run() {
    let root = tempfile::tempdir().unwrap();
    let made = StateDir::create_run(&root.path().join("my run"), [3; 32], b"", &identities(), vec![]).unwrap();
    let failure = StateDir::for_resume(&made.peer(0)).unwrap_err();
    assert_eq!(failure.exit(), Exit::Checkpoint);
    let hint = failure.to_fault().hint;
    assert!(hint.contains("--resume '") && hint.contains("my run'"), "{hint}");
}

#[test]
fn what_was_made_for_a_run_that_did_not_start_goes_and_nothing_else_does() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    StateDir::create_run(&path, [3; 32], b"", &identities(), vec![]).unwrap().discard();
    assert!(!path.exists());
    let made = StateDir::create_run(&path, [3; 32], b"", &identities(), vec![]).unwrap();
    fs::write(path.join("thesis.txt"), "precious").unwrap();
    made.discard();
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
}

#[test]
fn a_foreign_folder_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("thesis.txt"), "precious").unwrap();
    let refused = StateDir::create_run(root.path(), [3; 32], b"", &identities(), vec![]).unwrap_err();
    assert_eq!(refused.exit(), Exit::Config);
    assert!(StateDir::for_join(root.path(), [3; 32]).is_err());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

#[test]
fn a_run_does_not_overwrite_another() {
    let root = tempfile::tempdir().unwrap();
    StateDir::create_run(root.path(), [3; 32], b"", &identities(), vec![]).unwrap();
    let refused = StateDir::create_run(root.path(), [4; 32], b"", &identities(), vec![]).unwrap_err();
    assert!(refused.to_fault().hint.contains("--resume"));
    assert!(StateDir::for_join(root.path(), [3; 32]).is_err(), "a run's folder is not a joiner's");
}

#[test]
fn a_user_who_joins_again_is_the_same_peer() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("joined");
    let who = |dir: &StateDir| identity_file::HeldIdentity::open(&dir.peer(0)).unwrap().identity().peer_id();
    let first = who(&StateDir::for_join(&path, [5; 32]).unwrap());
    assert_eq!(who(&StateDir::for_join(&path, [5; 32]).unwrap()), first);
    assert!(StateDir::for_join(&path, [6; 32]).is_err(), "the folder belongs to another run");
}

#[test]
fn nothing_to_resume_is_a_checkpoint_error() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(StateDir::for_resume(root.path()).unwrap_err().exit(), Exit::Checkpoint);
}
