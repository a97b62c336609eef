//! Causal attention of all heads at once, forward and backward; the products are burn's.

use burn::backend::Flex;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Shape;

use super::rows::{slice, softmax_backward, softmax_weights, tensor};

type Values = FloatTensor<Flex>;

/// Sizes of an attention over `qkv` `[batch, seq, 3·heads·width]`.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    seq: usize,
    heads: usize,
    width: usize,
}

impl Sizes {
    fn of(qkv: &Values, heads: usize) -> Self {
        let shape = qkv.layout().shape();
        Self { batch: shape[0], seq: shape[1], heads, width: shape[2] / (3 * heads) }
    }

    fn scale(self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    /// Queries, keys or values as `[batch, heads, seq, width]`, without copying.
    fn part(self, qkv: &Values, part: usize) -> Values {
        let Self { batch, seq, heads, width } = self;
        let split = qkv.reshape(Shape::new([batch, seq, 3 * heads, width]));
        split.permute(&[0, 2, 1, 3]).narrow(1, part * heads, heads)
    }
}

/// The mixed values `[batch, seq, d_model]`, and each position's shares `[batch, heads, seq, seq]` of the others.
pub(super) fn forward(qkv: &Values, heads: usize) -> (Values, Values) {
    let qkv = qkv.to_contiguous();
    let sizes = Sizes::of(&qkv, heads);
    let Sizes { batch, seq, width, .. } = sizes;
    let [query, key, value] = [0, 1, 2].map(|part| sizes.part(&qkv, part));
    let mut shares = Flex::float_matmul(query, key.transpose(2, 3));
    let scale = sizes.scale();
    for (row, scores) in shares.storage_mut::<f32>().chunks_exact_mut(seq).enumerate() {
        let (past, future) = scores.split_at_mut(row % seq + 1);
        past.iter_mut().for_each(|score| *score *= scale);
        let (_, mass) = softmax_weights(past);
        past.iter_mut().for_each(|weight| *weight /= mass);
        future.fill(0.0);
    }
    let mixed = Flex::float_matmul(shares.clone(), value).permute(&[0, 2, 1, 3]).to_contiguous();
    (mixed.reshape(Shape::new([batch, seq, heads * width])), shares)
}

/// The gradient of `qkv`, from that of the mixed values.
pub(super) fn backward(qkv: &Values, shares: &Values, grad: &Values) -> Values {
    let qkv = qkv.to_contiguous();
    let sizes = Sizes::of(&qkv, shares.layout().shape()[1]);
    let Sizes { batch, seq, heads, width } = sizes;
    let [query, key, value] = [0, 1, 2].map(|part| sizes.part(&qkv, part));
    let grad = grad.to_contiguous().reshape(Shape::new([batch, seq, heads, width])).permute(&[0, 2, 1, 3]);
    let grad_value = Flex::float_matmul(shares.transpose(2, 3), grad.clone());
    let mut grad_scores = Flex::float_matmul(grad, value.transpose(2, 3));
    let scale = sizes.scale();
    let rows = grad_scores.storage_mut::<f32>().chunks_exact_mut(seq).zip(slice(shares).chunks_exact(seq));
    for (row, (grad, shares)) in rows.enumerate() {
        let (past, future) = grad.split_at_mut(row % seq + 1);
        softmax_backward(&shares[..past.len()], past, scale);
        future.fill(0.0);
    }
    let grad_query = Flex::float_matmul(grad_scores.clone(), key);
    let grad_key = Flex::float_matmul(grad_scores.transpose(2, 3), query);
    side_by_side(sizes, [&grad_query, &grad_key, &grad_value])
}

/// Three of `[batch, heads, seq, width]` as one `[batch, seq, 3·heads·width]`.
fn side_by_side(sizes: Sizes, parts: [&Values; 3]) -> Values {
    let Sizes { batch, seq, heads, width } = sizes;
    let parts = parts.map(Values::to_contiguous);
    let mut joined = Vec::with_capacity(3 * batch * seq * heads * width);
    for (sequence, position) in (0..batch).flat_map(|sequence| (0..seq).map(move |position| (sequence, position))) {
        for (part, head) in parts.iter().flat_map(|part| (0..heads).map(move |head| (part, head))) {
            let start = ((sequence * heads + head) * seq + position) * width;
            joined.extend_from_slice(&slice(part)[start..start + width]);
        }
    }
    tensor(joined, &Shape::new([batch, seq, 3 * heads * width]))
}
