//! L_NTP: next-token cross-entropy.

use burn::tensor::{Device, Tensor};
use deem_data::IGNORED;
use deem_kernels as kernels;
use deem_model::deem::Deem;
use deem_model::layout::Layout;

/// Mean cross-entropy of a [`Deem`]'s text, see [`counted_cross_entropy`].
pub fn next_token_loss(
    model: &Deem,
    hidden: Tensor<3>,
    labels: &[i64],
    device: &Device,
) -> Tensor<1> {
    counted_cross_entropy(hidden, labels, |rows| model.logits(rows), device)
}

/// Mean cross-entropy over the counted tokens; zero if none counts.
///
/// The logits are computed at the counted positions only.
///
/// # Shapes
/// - `hidden`: `[batch, seq, width]`, the language model's last hidden states
/// - `labels`: `[batch · seq]` on the host: the token *at* each position, or [`IGNORED`]; the token at
///   position `i` is predicted from position `i − 1`
/// - `head`: `[positions, width]` → `[positions, vocabulary]`
/// - returns `[1]`
pub fn counted_cross_entropy(
    hidden: Tensor<3>,
    labels: &[i64],
    head: impl Fn(Tensor<2>) -> Tensor<2>,
    device: &Device,
) -> Tensor<1> {
    match counted_losses(hidden, labels, head, device) {
        Some((_, losses)) => kernels::mean(losses),
        None => Tensor::zeros([1], device),
    }
}

/// The counted positions (in `0..batch · seq`) and the cross-entropy of the token at each of them, as in
/// [`counted_cross_entropy`]; `None` if none counts.
pub fn counted_losses(
    hidden: Tensor<3>,
    labels: &[i64],
    head: impl Fn(Tensor<2>) -> Tensor<2>,
    device: &Device,
) -> Option<(Vec<usize>, Tensor<1>)> {
    let [batch, seq, width] = hidden.dims();
    let counted: Vec<usize> = (0..batch * seq)
        .filter(|i| i % seq > 0 && labels[*i] != IGNORED)
        .collect();
    if counted.is_empty() {
        return None;
    }
    let count = counted.len();
    let rows: Vec<usize> = counted.iter().map(|i| i - 1).collect();
    let targets = counted.iter().map(|i| labels[*i]).collect();
    let targets = Layout::int(targets, [count], device);
    let hidden = hidden.reshape([batch * seq, width]);
    let logits = head(kernels::select(hidden, &rows));
    Some((counted, kernels::cross_entropy(logits, targets, IGNORED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counted_token_is_predicted_from_the_one_before() {
        let device = Device::flex();
        // Positions 0, 1, 2 of one row; the "hidden state" of position i is i.
        let hidden = Tensor::<1>::from_floats([0.0, 1.0, 2.0], &device).reshape([1, 3, 1]);
        // Logits (0, h): with h = 1 the second token has probability e / (1 + e).
        let head = |rows: Tensor<2>| Tensor::cat(vec![rows.zeros_like(), rows], 1);
        let loss = counted_cross_entropy(hidden.clone(), &[1, IGNORED, 1], head, &device);
        let expected = (1.0 + (-1.0f64).exp()).ln();
        let found: f64 = loss.into_data().iter::<f64>().sum();
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        let none = counted_cross_entropy(hidden, &[1, IGNORED, IGNORED], head, &device);
        assert_eq!(none.into_data().iter::<f64>().sum::<f64>(), 0.0);
    }
}
