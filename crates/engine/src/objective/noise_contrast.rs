//! DCR (arXiv 2603.04803): a contrastive loss on *predicted* noise. What is predicted of a picture under its own
//! condition must resemble the true noise more than it resembles what is predicted of the same noised picture under other
//! pictures' conditions. Discrimination and restoration are one objective, so that their gradients do not disagree.

use burn::tensor::Tensor;
use deem_data::IGNORED;
use deem_kernels as kernels;
use deem_model::layout::Layout;

use super::denoiser::{Denoiser, Noised};
use super::normalize;

/// InfoNCE of predictions: with the cosine `s`, the prediction `p_ij` of picture i under the condition of j and
/// positives P_i = {target_i, and p_i⁺, the prediction under another view's condition, if there is one},
///
/// `L = − mean_i mean_{q ∈ P_i} log( e^{s(p_ii, q)/τ} / (Σ_{q' ∈ P_i} e^{s(p_ii, q')/τ} + Σ_{j ≠ i} e^{s(p_ii, p_ij)/τ}) )`.
///
/// # Shapes
/// - `own`: [what is predicted](Denoiser::predict) of each picture under its own condition
/// - `tokens`: `[pictures, tokens, condition_dim]`, the conditions
/// - `second`: the same, of another view of each picture
/// - `negatives`: other pictures that each is contrasted with, the next ones in the batch; 0: all
/// - returns `[1]`; a batch of one picture has no negatives
pub fn noise_contrast(
    denoiser: &Denoiser,
    noised: &Noised,
    own: Tensor<4>,
    tokens: Tensor<3>,
    second: Option<Tensor<3>>,
    temperature: f64,
    negatives: usize,
) -> Tensor<1> {
    let [pictures, ..] = tokens.dims();
    let others = pictures.saturating_sub(1);
    let negatives = if negatives == 0 {
        others
    } else {
        negatives.min(others)
    };
    let unit = |map: Tensor<4>| {
        let [_, height, width, channels] = map.dims();
        normalize(map.reshape([pictures, height * width * channels]))
    };
    let device = own.device();
    let anchor = unit(own);
    let similarity = |other: Tensor<2>| kernels::sum_last(anchor.clone() * other);
    let mut columns = vec![similarity(unit(noised.target.clone()))];
    if let Some(second) = second {
        columns.push(similarity(unit(denoiser.predict(noised, second))));
    }
    let positives = columns.len();
    for shift in 1..=negatives {
        let rows: Vec<usize> = (0..pictures).map(|i| (i + shift) % pictures).collect();
        let foreign = kernels::select(tokens.clone(), &rows);
        columns.push(similarity(unit(denoiser.predict(noised, foreign))));
    }
    let logits = Tensor::cat(columns, 1).div_scalar(temperature);
    let losses = (0..positives).map(|column| {
        let targets = Layout::int(vec![column as i64; pictures], [pictures], &device);
        kernels::mean(kernels::cross_entropy(logits.clone(), targets, IGNORED))
    });
    let sum = losses.reduce(|a, b| a + b).expect("the target at least");
    sum.div_scalar(positives as f64)
}
