use burn::tensor::{Int, Tensor, activation};

use crate::precision::wide;

/// Cross-entropy per row; see [`crate::cross_entropy`].
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, ignore_index: i64) -> Tensor<1> {
    let [rows, _] = logits.dims();
    let ignored = targets.clone().equal_elem(ignore_index);
    let targets = targets.mask_fill(ignored.clone(), 0).reshape([rows, 1]);
    let log_probability = activation::log_softmax(wide(logits), 1).gather(1, targets);
    -(log_probability.reshape([rows]).mask_fill(ignored, 0.0))
}
