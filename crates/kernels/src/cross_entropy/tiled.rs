//! Cross-entropy where there is no fused kernel (GPUs, 16 bits): a composition by blocks of rows, computed again
//! in the backward pass, so that only one block's probabilities exist at a time.
#![allow(clippy::disallowed_methods)] // of GPUs and 16 bits, whose bits are not promised

use std::sync::Arc;

use burn::tensor::{Int, Tensor, activation};

use crate::graph::{untracked, with_gradient};
use crate::precision::{cast, wide};
use crate::reference;

/// Most entries of a table of probabilities.
const TABLE: usize = 1 << 25;

/// [`super::cross_entropy`].
pub(super) fn tiled(logits: Tensor<2>, targets: Tensor<1, Int>, ignore_index: i64) -> Tensor<1> {
    in_blocks(logits, targets, ignore_index, TABLE)
}

fn in_blocks(
    logits: Tensor<2>,
    targets: Tensor<1, Int>,
    ignore_index: i64,
    table: usize,
) -> Tensor<1> {
    let [rows, classes] = logits.dims();
    let targets = if targets.is_autodiff() {
        targets.inner()
    } else {
        targets
    };
    let size = (table / classes.max(1)).clamp(1, rows.max(1));
    let blocks = move || {
        (0..rows)
            .step_by(size)
            .map(move |first| (first, size.min(rows - first)))
    };
    let plain = untracked(logits.clone());
    let losses = blocks().map(|(first, len)| {
        let (logits, targets) = (plain.clone().narrow(0, first, len), targets.clone());
        reference::cross_entropy(logits, targets.narrow(0, first, len), ignore_index)
    });
    let losses = Tensor::cat(losses.collect(), 0).reshape([rows, 1]);
    if !logits.is_tracked() {
        return losses.reshape([rows]);
    }
    let gradient = move |inputs: &[Tensor<2>], grad: Tensor<2>, _: &[bool]| {
        let parts = blocks().map(|(first, len)| {
            let logits = inputs[0].clone().narrow(0, first, len);
            let targets = targets.clone().narrow(0, first, len).reshape([len, 1]);
            let grad = grad.clone().narrow(0, first, len);
            block_gradient(logits, targets, grad, ignore_index)
        });
        vec![Some(Tensor::cat(parts.collect(), 0))]
    };
    with_gradient(vec![logits], losses, Arc::new(gradient)).reshape([rows])
}

/// `(softmax - one-hot target) · grad`; zero where the target is ignored.
///
/// # Shapes
/// - `targets`, `grad`: `[rows, 1]`
fn block_gradient(
    logits: Tensor<2>,
    targets: Tensor<2, Int>,
    grad: Tensor<2>,
    ignore_index: i64,
) -> Tensor<2> {
    let ([rows, classes], dtype) = (logits.dims(), logits.dtype());
    let ignored = targets.clone().equal_elem(ignore_index);
    let class = Tensor::<1, Int>::arange(0..classes as i64, &logits.device());
    let class = class.reshape([1, classes]).expand([rows, classes]);
    let target = class.equal(targets.expand([rows, classes]));
    let p = activation::softmax(wide(logits), 1);
    let difference = p.clone().mask_where(target, p - 1.0);
    cast(difference * wide(grad).mask_fill(ignored, 0.0), dtype)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, Distribution};

    use super::*;

    #[test]
    fn blocks_equal_the_whole() {
        let device = Device::flex().autodiff();
        device.seed(3);
        let logits = Tensor::<2>::random([7, 11], Distribution::Normal(0.0, 3.0), &device);
        let logits = logits.require_grad();
        let targets = [3, 0, -100, 10, -100, 7, 1];
        let targets = Tensor::<1, Int>::from_ints(targets, &Device::flex());
        let weights = Tensor::<1>::random([7], Distribution::Normal(0.0, 1.0), &device);
        let run = |dtype: DType, table: Option<usize>| {
            let x = cast(logits.clone(), dtype);
            let losses = match table {
                Some(table) => in_blocks(x, targets.clone(), -100, table),
                None => reference::cross_entropy(x, targets.clone(), -100),
            };
            assert_eq!(losses.dtype(), DType::F32);
            let grads = (losses.clone() * weights.clone()).sum().backward();
            let gradient = logits.grad(&grads).expect("a gradient").reshape([77]);
            let all = Tensor::cat(vec![losses.inner(), gradient], 0);
            all.into_data().iter::<f32>().collect::<Vec<_>>()
        };
        let expected = run(DType::F32, None);
        for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::BF16, 0.1)] {
            let found = run(dtype, Some(3 * 11)); // three rows a block
            let pairs = expected.iter().zip(&found);
            let worst = pairs.fold(0f32, |worst, (a, b)| worst.max((a - b).abs()));
            assert!(worst < tolerance, "{dtype:?}: {worst}");
        }
    }
}
