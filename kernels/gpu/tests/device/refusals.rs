//! What is refused: shapes that do not fit, numbers that are none, payloads that are wrong.

use murmur_gpu::GpuError;
use murmur_gpu::kernels::{self, CompressError, Factor, FoldError, Start};
use murmur_kernels::exact::{Attention, Norm};
use murmur_kernels::{CodecError, Direction, TopK, Weight};

use crate::support::gpu;

#[test]
fn a_change_that_is_no_number_is_refused_with_its_place_and_nothing_changes() {
    let Some(gpu) = gpu() else { return };
    let (zeros, before) = (gpu.upload(&[0.0; 9000]), vec![0.25; 9000]);
    let mut end = vec![0.5; 9000];
    end[4321] = f32::INFINITY;
    // More than are sent, and with larger bits.
    end[4400..4600].fill(f32::NAN);
    let (mut residual, mut payload, k) = (gpu.upload(&before), vec![9], TopK::new(64).unwrap());
    let error = kernels::compress(gpu, k, 0.9, [&zeros, &gpu.upload(&end)], &mut residual, &mut payload);
    assert_eq!(error, Err(CompressError::Codec(CodecError::NonFinite { index: 4321 })));
    assert_eq!(payload, [9]);
    assert_eq!(gpu.read(&residual).unwrap(), before);
}

#[test]
fn a_payload_that_is_wrong_leaves_the_state_as_it_was() {
    let Some(gpu) = gpu() else { return };
    let (k, mut payload) = (TopK::new(64).unwrap(), Vec::new());
    let (zeros, ones) = (vec![0.0; 5000], vec![1.0; 5000]);
    murmur_kernels::compress(k, 0.9, &zeros, &ones, &mut zeros.clone(), &mut payload).unwrap();
    let before: Vec<i64> = (0..5000).collect();
    let state = kernels::upload_state(gpu, &before);
    let error = kernels::fold(gpu, k, &payload[..payload.len() - 1], Weight::ONE, Direction::Add, &state);
    assert!(matches!(error, Err(FoldError::Codec(_))), "{error:?}");
    assert_eq!(kernels::read_state(gpu, &state).unwrap(), before);
}

#[test]
fn shapes_that_do_not_fit_are_named_with_the_operation() {
    let Some(gpu) = gpu() else { return };
    let [six, four] = [6, 4].map(|len| gpu.room(len));
    let (wide, square) = (Factor::new(&six, 1, 2, 3).unwrap(), Factor::new(&four, 1, 2, 2).unwrap());
    let op = |result: Result<(), GpuError>| match result {
        Err(GpuError::Shape { op, .. }) => op,
        other => panic!("{other:?}"),
    };
    assert_eq!(op(kernels::matmul(gpu, wide, square, Start::Zero, &four)), "matmul");
    assert_eq!(op(kernels::matmul(gpu, square, wide, Start::Zero, &four)), "matmul");
    assert_eq!(op(Factor::new(&six, 1, 2, 2).map(drop)), "matrix");
    assert_eq!(op(kernels::norm(gpu, Norm::Layer, &six, &four, 4, [&six, &four])), "norm");
    assert_eq!(op(kernels::softmax(gpu, &six, 4)), "softmax");
    assert_eq!(op(kernels::embed(gpu, [&four, &four], &[0, 2], 1, &four)), "embed");
    let sizes = Attention { batch: 1, seq: 2, heads: 1, width: 2 };
    assert_eq!(op(kernels::attention(gpu, sizes, &six, &four)), "attention");
}
