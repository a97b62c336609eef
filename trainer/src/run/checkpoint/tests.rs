//! A checkpoint comes back bit for bit, or not at all.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::learn::model::gpt::Gpt;

fn checkpoint() -> Checkpoint {
    let model = ModelConfig::from(Gpt::tiny());
    Checkpoint {
        model,
        run_id: [9; 32],
        clock: 1234,
        state: murmur_kernels::from_f32(&model.initial_params(&[0; 32])).unwrap().into(),
        extra: BTreeMap::from([("note".to_owned(), "kept".to_owned())]),
    }
}

fn written() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    checkpoint().write(&path).unwrap();
    (folder, path)
}

fn damaged(damage: impl Fn(&mut Vec<u8>)) -> CheckpointError {
    let (_folder, path) = written();
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let error = Checkpoint::read(&path).unwrap_err();
    assert!(error.to_string().contains("model.safetensors"), "{error}");
    error
}

#[test]
fn a_checkpoint_comes_back_as_it_was() {
    let (folder, path) = written();
    assert_eq!(Checkpoint::read(&path).unwrap(), checkpoint());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn other_tools_see_named_tensors() {
    let (_folder, path) = written();
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let qkv = tensors.tensor("blocks.0.attention.qkv.weight").unwrap();
    assert_eq!((qkv.dtype(), qkv.shape()), (Dtype::F32, [8, 24].as_slice()));
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
}

#[test]
fn a_flipped_bit_of_the_state_is_corruption_with_both_roots() {
    let state_bytes = 8 * checkpoint().state.len();
    let error = damaged(|bytes| {
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[header + state_bytes / 2] ^= 1;
    });
    let CheckpointError::Corrupt { found, expected, .. } = error else { panic!("{error}") };
    assert_eq!(expected, HEX.encode(&state_root(&checkpoint().state)));
    assert_ne!(found, expected);
}

#[test]
fn a_flipped_bit_of_a_named_tensor_is_corruption() {
    let error = damaged(|bytes| *bytes.last_mut().unwrap() ^= 1);
    assert!(matches!(error, CheckpointError::Tensor { .. }), "{error}");
}

#[test]
fn a_truncated_file_is_refused() {
    let error = damaged(|bytes| bytes.truncate(bytes.len() / 2));
    assert!(matches!(error, CheckpointError::Format { .. }), "{error}");
}

#[test]
fn a_foreign_file_is_refused() {
    let data = [0; 4];
    let view = TensorView::new(Dtype::F32, vec![1], &data).unwrap();
    let foreign = safetensors::serialize([("x", view)], None).unwrap();
    let error = damaged(|bytes| foreign.clone_into(bytes));
    assert!(matches!(error, CheckpointError::Foreign { .. }), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Checkpoint::read(Path::new("/nonexistent/model.safetensors")).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/model.safetensors"));
}

#[test]
fn a_full_disk_while_writing_a_checkpoint_is_exit_32() {
    let write = |kind| CheckpointError::Write { path: "/x".into(), error: io::Error::from(kind) };
    assert_eq!(Failure::from(write(io::ErrorKind::StorageFull)).exit(), Exit::DiskFull);
    assert_eq!(Failure::from(write(io::ErrorKind::NotFound)).exit(), Exit::Checkpoint);
}
