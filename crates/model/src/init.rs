//! How a [`Deem`](crate::deem::Deem) begins where no checkpoint provides values.

use crate::clip::pyramid::VisionConfig;
use crate::deem::DeemConfig;
use crate::mmfs::MmfsConfig;
use crate::weights::init::Fill;

/// Initial values of the method's own parts, as rules for [`initialize_rest`](crate::weights::init::initialize_rest);
/// what no rule names gets the defaults stated there.
///
/// - An MMFS block adds nothing at first: its gate (language model) or last convolution (UNet) is zero.
/// - A ViT's adapter samples where its biases say, all samples with the same weight.
/// - Projections of visual tokens start small, so that a frozen language model and diffusion model are not
///   thrown off; queries and the null condition like word embeddings.
/// - The head on appended tokens starts with its bias alone.
pub fn rules(config: &DeemConfig) -> Vec<(String, Fill)> {
    let mut rules = Vec::new();
    if let VisionConfig::Vit { .. } = config.image_encoder.vision {
        for name in ["sampling_offsets.weight", "attention_weights.weight"] {
            rules.push((format!("interactions*{name}"), Fill::Constant(0.0)));
        }
    }
    if let Some(mmfs) = &config.llama_mmfs {
        rules.extend(attention(&mmfs.mmfs(config.llama.hidden_size), "llama.*"));
    }
    if let Some(synchronizer) = &config.image_decoder.synchronizer {
        let down = config.unet.skips().into_iter().enumerate();
        let down = down.map(|(index, place)| (format!("mmfs_down_blocks.{index}.*"), place));
        let middle = ("mmfs_mid_block.*".to_owned(), config.unet.middle());
        for (path, (channels, reduction)) in down.chain([middle]) {
            rules.push((format!("{path}conv.weight"), Fill::Constant(0.0)));
            rules.extend(attention(&synchronizer.mmfs(channels, reduction), &path));
        }
    }
    let fixed = [
        ("proj_t.weight", Fill::Normal(1e-3)),
        ("proj_i.weight", Fill::Normal(1e-3)),
        ("query_tokens", Fill::Normal(0.02)),
        ("null_condition", Fill::Normal(0.02)),
        ("head_new.weight", Fill::Constant(0.0)),
    ];
    rules.extend(fixed.map(|(pattern, fill)| (pattern.to_owned(), fill)));
    rules
}

/// The attention of an MMFS block below `path`: every query looks at its reference point with offsets that
/// differ by head only, and projections keep the scale of what passes.
fn attention(config: &MmfsConfig, path: &str) -> Vec<(String, Fill)> {
    let uniform = |bound: usize| Fill::Uniform((bound as f32).sqrt().recip());
    let xavier = |sum: usize| Fill::Uniform((6.0 / sum as f32).sqrt());
    let (query, value, inner) = (config.query_dim, config.value_dim, config.attention_dim);
    [
        ("sampling_offsets.weight", Fill::Constant(0.0)),
        ("sampling_offsets.bias", Fill::Uniform(config.offset_init)),
        ("dynamic_offset_mask.weight", uniform(query)),
        ("attention_weights.weight", uniform(query)),
        ("value_proj.weight", xavier(value + inner)),
        ("output_proj.weight", xavier(inner + query)),
        ("query_relpos.weight", Fill::Normal(0.02)),
    ]
    .into_iter()
    .map(|(name, fill)| (format!("{path}{name}"), fill))
    .collect()
}
