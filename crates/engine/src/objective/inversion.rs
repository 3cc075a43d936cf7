//! un2CLIP (arXiv 2505.24517 §3): a generator that draws pictures from embeddings in CLIP's own space (unCLIP) is
//! inverted. It is frozen, its condition is the encoder's embedding of the picture, and the encoder learns embeddings
//! from which the picture can be drawn. As the embedding is what texts are compared with, the space must not be left.

use burn::tensor::Tensor;

use super::normalize;

/// The generator's condition, before its projection: the embedding with unit variance, `√d · e / ‖e‖`, with noise on it
/// as unCLIP's generators are trained with (`noise` standard normal, `level` its standard deviation).
///
/// Differs from: Stable unCLIP, which standardises by stored statistics of a data set and tells the generator the level.
///
/// # Shapes
/// - `embeds`, `noise`: `[pictures, embedding]`
/// - returns `[pictures, 1, embedding]`, to be projected and denoised under
///   ([`denoising_loss`](super::denoising_loss))
pub fn embedding_condition(embeds: Tensor<2>, noise: Option<Tensor<2>>, level: f64) -> Tensor<3> {
    let [_, width] = embeds.dims();
    let standard = normalize(embeds).mul_scalar((width as f64).sqrt());
    let condition = match noise {
        Some(noise) => standard + noise.mul_scalar(level),
        None => standard,
    };
    condition.unsqueeze_dim::<3>(1)
}
