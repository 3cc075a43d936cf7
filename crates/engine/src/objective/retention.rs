//! Retention: what the encoder meant before the correction, it means after it. A frozen copy of the encoder says how
//! similar pictures are to texts and to each other; the corrected one is held to it (distillation of similarities,
//! Tung and Mori 2019; of logits, Hinton et al. 2015). The text tower is frozen, so zero-shot answers stay.

use burn::tensor::{Device, Tensor, TensorData};
use deem_kernels as kernels;

use super::normalize;

/// Divergence from the original image–text distributions:
/// `mean_i KL( softmax(s · r_i Tᵀ) ‖ softmax(s · e_i Tᵀ) )` for unit embeddings e, of the original encoder r, and of texts T.
///
/// # Shapes
/// - `embeds`, `reference`: `[pictures, embedding]`, as long as they come
/// - `texts`: `[texts, embedding]`, of unit length
/// - `scale`: s, the inverse temperature
/// - returns `[1]`
pub fn text_retention(
    embeds: Tensor<2>,
    reference: Tensor<2>,
    texts: Tensor<2>,
    scale: f64,
) -> Tensor<1> {
    let shares = |images: Tensor<2>| {
        let logits = kernels::linear(normalize(images), texts.clone(), None);
        kernels::softmax(logits.mul_scalar(scale)).clamp_min(1e-30)
    };
    let (before, now) = (shares(reference).detach(), shares(embeds));
    let divergence = before.clone() * (kernels::log(before) - kernels::log(now));
    kernels::mean(kernels::sum_last(divergence))
}

/// Change of the similarities between pictures: `mean_{i ≠ j} (e_i · e_j − r_i · r_j)²`; zero for one picture.
///
/// # Shapes
/// As in [`text_retention`].
pub fn image_retention(embeds: Tensor<2>, reference: Tensor<2>, device: &Device) -> Tensor<1> {
    let [pictures, _] = embeds.dims();
    let cosines = |images: Tensor<2>| {
        let unit = normalize(images);
        kernels::linear(unit.clone(), unit, None)
    };
    let change = (cosines(embeds) - cosines(reference).detach()).square();
    let pairs = (pictures * pictures.saturating_sub(1)).max(1);
    let counted =
        (0..pictures * pictures).map(|at| f32::from(u8::from(at / pictures != at % pictures)));
    let counted = TensorData::new(counted.collect::<Vec<f32>>(), [pictures, pictures]);
    let counted = Tensor::<2>::from_data(counted, device);
    kernels::sum(change * counted).div_scalar(pairs as f64)
}
