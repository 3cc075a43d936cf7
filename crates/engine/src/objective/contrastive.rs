//! CLIP's symmetric contrastive loss (Radford et al., 2021), for pre-training the stand-in encoder.

use burn::tensor::{Device, Tensor};
use deem_data::IGNORED;
use deem_kernels as kernels;
use deem_model::layout::Layout;

/// Cross-entropy of matching images to texts and texts to images.
///
/// Texts that are equal count as the same class: each image's target is spread by masking the other
/// copies out of its negatives.
///
/// # Shapes
/// - `images`, `texts`: `[batch, width]`, not normalised
/// - `scale`: `[1]`, the inverse temperature
/// - `duplicates`: `[batch · batch]` on the host, true where two *different* rows have equal texts
/// - returns `[1]`
pub fn contrastive(
    images: Tensor<2>,
    texts: Tensor<2>,
    scale: Tensor<1>,
    duplicates: &[bool],
    device: &Device,
) -> Tensor<1> {
    let [batch, _] = images.dims();
    let logits = kernels::linear(normalize(images), normalize(texts), None);
    let hidden: Vec<f32> = duplicates
        .iter()
        .map(|d| if *d { -1e4 } else { 0.0 })
        .collect();
    let hidden = Tensor::<1>::from_floats(hidden.as_slice(), device).reshape([batch, batch]);
    let logits = logits * scale.reshape([1, 1]) + hidden;
    let targets = Layout::int((0..batch as i64).collect(), [batch], device);
    let to_text = kernels::cross_entropy(logits.clone(), targets.clone(), IGNORED);
    let to_image = kernels::cross_entropy(logits.transpose(), targets, IGNORED);
    (kernels::mean(to_text) + kernels::mean(to_image)) * 0.5
}

/// Rows scaled to unit length.
pub fn normalize(x: Tensor<2>) -> Tensor<2> {
    let norm = kernels::sqrt(kernels::sum_last(x.clone().square()));
    x / norm.clamp_min(1e-8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(duplicates: &[bool]) -> f64 {
        let device = Device::flex();
        let images = Tensor::<2>::from_floats([[2.0, 0.0], [0.0, 3.0]], &device);
        let texts = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
        let scale = Tensor::<1>::from_floats([1.0], &device);
        let loss = contrastive(images, texts, scale, duplicates, &device);
        loss.into_data().iter::<f64>().sum()
    }

    #[test]
    fn orthogonal_pairs_by_hand() {
        // Logits are the identity: −ln(e / (e + 1)) in both directions.
        let expected = (1.0 + (-1.0f64).exp()).ln();
        assert!((loss(&[false; 4]) - expected).abs() < 1e-6);
    }

    #[test]
    fn equal_texts_are_no_negatives() {
        assert!(loss(&[false, true, true, false]).abs() < 1e-6);
    }
}
