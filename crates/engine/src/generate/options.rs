//! Option scoring (spec: inference): how probable given answers are as a whole.

use burn::tensor::Device;
use deem_model::deem::{Deem, EncodedImages};
use deem_model::layout::Layout;

use crate::objective::counted_losses;

/// Summed log-probability of the counted tokens of each row, in nats.
///
/// # Shapes
/// - `encoded`: the images of `layout`, in its order
/// - `labels`: `[batch · seq]`: the token at each position that counts,
///   [`IGNORED`](deem_data::IGNORED) elsewhere
/// - returns one sum for each row; 0 for a row without counted tokens
pub fn log_likelihoods(
    model: &Deem,
    layout: &Layout,
    encoded: Option<&EncodedImages>,
    labels: &[i64],
    device: &Device,
) -> Vec<f64> {
    let mut sums = vec![0.0; layout.batch];
    let hidden = model.read(layout, encoded);
    let counted = counted_losses(hidden, labels, |rows| model.logits(rows), device);
    if let Some((positions, losses)) = counted {
        for (position, loss) in positions.iter().zip(losses.into_data().iter::<f64>()) {
            sums[position / layout.seq] -= loss;
        }
    }
    sums
}
