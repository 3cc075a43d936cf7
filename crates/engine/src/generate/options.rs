//! Option scoring (spec: inference): how probable given answers are as a whole.

use burn::tensor::{Device, Tensor};
use deem_kernels as kernels;
use deem_model::deem::{Deem, EncodedImages};
use deem_model::layout::Layout;

use crate::objective::IGNORE;

/// Summed log-probability of the counted tokens of each row, in nats.
///
/// # Shapes
/// - `encoded`: the images of `layout`, in its order
/// - `labels`: `[batch · seq]`: the token at each position that counts, [`IGNORE`] elsewhere
/// - returns one sum for each row; 0 for a row without counted tokens
pub fn log_likelihoods(
    model: &Deem,
    layout: &Layout,
    encoded: Option<&EncodedImages>,
    labels: &[i64],
    device: &Device,
) -> Vec<f64> {
    let mut sums = vec![0.0; layout.batch];
    let counted: Vec<usize> = (0..labels.len())
        .filter(|i| i % layout.seq > 0 && labels[*i] != IGNORE)
        .collect();
    if counted.is_empty() {
        return sums;
    }
    let count = counted.len();
    let hidden = model.read(layout, encoded);
    let [batch, seq, width] = hidden.dims();
    // The token at position i is predicted from position i − 1.
    let before = counted.iter().map(|i| *i as i64 - 1).collect();
    let targets = counted.iter().map(|i| labels[*i]).collect();
    let hidden: Tensor<2> = hidden
        .reshape([batch * seq, width])
        .select(0, Layout::int(before, [count], device));
    let targets = Layout::int(targets, [count], device);
    let losses = kernels::cross_entropy(model.logits(hidden), targets, IGNORE);
    for (position, loss) in counted.iter().zip(losses.into_data().iter::<f64>()) {
        sums[position / seq] -= loss;
    }
    sums
}
