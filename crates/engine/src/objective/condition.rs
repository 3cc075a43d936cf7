//! The condition of a bare encoder (DIVA §3.3): its class token, tokens of some of its patches, both, or its embedding;
//! `density` is the share of patches that are told, drawn anew for each picture.

use burn::tensor::{Tensor, TensorData};
use deem_kernels as kernels;
use deem_model::encoder_feedback::{ConditionTokens, EncoderFeatures};

/// How many of `places` patches a density means, at least one.
pub fn told(places: usize, density: f64) -> usize {
    ((places as f64 * density).ceil() as usize).clamp(1, places.max(1))
}

/// Features that the condition is projected from.
///
/// # Shapes
/// - `kept`: for each picture the patches that are told, equally many; not read without patches
/// - returns `[pictures, tokens, width]`
///
/// # Panics
/// If `kept` names a patch that is not there, or not equally many.
pub fn condition_features(
    features: &EncoderFeatures,
    tokens: ConditionTokens,
    kept: &[Vec<usize>],
) -> Tensor<3> {
    let pooled = || features.pooled.clone().unsqueeze_dim::<3>(1);
    match tokens {
        ConditionTokens::Class => pooled(),
        ConditionTokens::Embedding => features.embeds.clone().unsqueeze_dim::<3>(1),
        ConditionTokens::Local => local(&features.places, kept),
        ConditionTokens::Both => Tensor::cat(vec![pooled(), local(&features.places, kept)], 1),
    }
}

fn local(places: &Tensor<3>, kept: &[Vec<usize>]) -> Tensor<3> {
    let [pictures, count, width] = places.dims();
    let rows = kept.iter().enumerate();
    let rows = rows.flat_map(|(picture, kept)| kept.iter().map(move |at| picture * count + at));
    let rows: Vec<usize> = rows.collect();
    let told = rows.len() / pictures.max(1);
    let flat = places.clone().reshape([pictures * count, width]);
    kernels::select(flat, &rows).reshape([pictures, told, width])
}

/// Condition dropout (classifier-free guidance, Ho and Salimans 2021): every token of a dropped picture becomes the null
/// condition.
///
/// # Shapes
/// - `tokens`: `[pictures, tokens, condition_dim]`, returned in the same shape
/// - `null`: `[1, condition_dim]`
pub fn drop_conditions(tokens: Tensor<3>, null: Tensor<2>, dropped: &[bool]) -> Tensor<3> {
    if !dropped.contains(&true) {
        return tokens;
    }
    let share = |of: fn(bool) -> bool| {
        let values = dropped.iter().map(|d| f32::from(u8::from(of(*d))));
        let data = TensorData::new(values.collect::<Vec<f32>>(), [dropped.len(), 1, 1]);
        Tensor::<3>::from_data(data, (&tokens.device(), tokens.dtype()))
    };
    tokens.clone() * share(|dropped| !dropped) + null.unsqueeze::<3>() * share(|dropped| dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn densities() {
        assert_eq!(told(256, 0.15), 39);
        assert_eq!(told(4, 0.0), 1);
        assert_eq!(told(4, 1.0), 4);
    }
}
