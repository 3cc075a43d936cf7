//! From the keys of the official DEEM and MM-Interleaved training checkpoints to deem's
//! (docs/checkpoints.md has the table).

use std::path::Path;

use safetensors::Dtype;

use super::WeightsError;
use super::stream::LazyTensor;
use crate::autoencoder::{has_legacy_keys, modern_key};

/// Beginnings of keys and what they become; the first that fits decides. Empty: not kept, because it is
/// computed, constant or a second name.
const BEGINNINGS: [(&str, &str); 32] = [
    ("visual_tokenizer.encoder.unet.", "unet."),
    ("visual_tokenizer.encoder.vae.", "autoencoder."),
    (
        "visual_tokenizer.encoder.mmfs_module.",
        "image_decoder.synchronizer.",
    ),
    ("image_decoder.decoder.unet.", "unet."),
    ("image_decoder.decoder.vae.", "autoencoder."),
    (
        "image_decoder.decoder.mmfs_module.",
        "image_decoder.synchronizer.",
    ),
    (
        "image_decoder.perceiver_resampler.queries",
        "image_decoder.query_tokens",
    ),
    (
        "image_decoder.perceiver_resampler.blip2qformer.",
        "image_decoder.resampler.",
    ),
    (
        "image_decoder.neg_prompt_embeds",
        "image_decoder.null_condition",
    ),
    (
        "visual_tokenizer.sniffer.vision_model.adapter_c",
        "image_encoder.vision.adapter_c",
    ),
    (
        "visual_tokenizer.sniffer.vision_model.adapter_",
        "image_encoder.vision.adapter.",
    ),
    (
        "visual_tokenizer.sniffer.vision_model.visual.",
        "image_encoder.vision.visual.",
    ),
    (
        "visual_tokenizer.sniffer.vision_model.",
        "image_encoder.vision.vision_model.",
    ),
    (
        "visual_tokenizer.encoder.vision_model.adapter_",
        "image_encoder.vision.adapter.",
    ),
    (
        "visual_tokenizer.encoder.vision_model.",
        "image_encoder.vision.vision_model.",
    ),
    ("visual_tokenizer.pos_proj.", "image_encoder.pos_proj."),
    ("visual_tokenizer.pos_ln.", "image_encoder.pos_ln."),
    ("visual_tokenizer.post_ln.", "image_encoder.ln."),
    (
        "visual_tokenizer.perceiver_resampler.queries",
        "image_encoder.query_tokens",
    ),
    (
        "visual_tokenizer.perceiver_resampler.blip2qformer.",
        "image_encoder.resampler.",
    ),
    ("visual_tokenizer.proj_t.", "image_encoder.proj_t."),
    ("visual_tokenizer.proj_i.", "image_encoder.proj_i."),
    ("visual_tokenizer.proj.", "image_encoder.proj_t."),
    ("visual_tokenizer.pos_embed", ""),
    ("visual_tokenizer.clip_", ""),
    ("visual_tokenizer.neg_prompt_embeds", ""),
    ("mm_decoder.", "llama.model."),
    ("text_decoder.head.weight", "llama.lm_head.weight"),
    ("text_decoder.head.bias", ""),
    ("text_decoder.head_new.", "text_decoder.head_new."),
    ("context_feat_proj.", "image_decoder.context_feat_proj."),
    ("soi_token", "soi_token"),
];

/// Ends of keys that are not kept: constants, and tables that are computed.
const COMPUTED: [&str; 4] = [".ignore_token", ".pos_embed", ".inv_freq", ".position_ids"];

/// Parts within keys, and what they become.
const WITHIN: [(&str, &str); 14] = [
    (".llama_cross_attn.", ".mmfs."),
    (".ffn.dwconv.dwconv.", ".ffn.dwconv."),
    (".spm.stem.0.", ".spm.stem.0.conv."),
    (".spm.stem.1.", ".spm.stem.0.norm."),
    (".spm.stem.3.", ".spm.stem.1.conv."),
    (".spm.stem.4.", ".spm.stem.1.norm."),
    (".spm.stem.6.", ".spm.stem.2.conv."),
    (".spm.stem.7.", ".spm.stem.2.norm."),
    (".spm.conv2.0.", ".spm.conv2.conv."),
    (".spm.conv2.1.", ".spm.conv2.norm."),
    (".spm.conv3.0.", ".spm.conv3.conv."),
    (".spm.conv3.1.", ".spm.conv3.norm."),
    (".spm.conv4.0.", ".spm.conv4.conv."),
    (".spm.conv4.1.", ".spm.conv4.norm."),
];

/// Tensors with a leading dimension of 1 that deem's do not have.
const WRAPPED: [&str; 4] = [
    "soi_token",
    "image_encoder.query_tokens",
    "image_decoder.query_tokens",
    "image_decoder.null_condition",
];

/// Whether keys are those of an official training checkpoint.
pub fn is_official<'a>(mut keys: impl Iterator<Item = &'a str>) -> bool {
    keys.any(|key| {
        key.trim_start_matches("module.")
            .starts_with("visual_tokenizer.")
    })
}

/// Renames and reshapes the tensors of an official checkpoint. Returns them with the keys that are not
/// kept.
///
/// Official models extend the language model's own tables by the appended tokens; here the tables end
/// with its own words, and the embedding of `<soi>` becomes part of the learnable `<soi>` vector. The
/// embeddings of the other appended tokens are not kept: deem reads them as zero vectors.
///
/// # Errors
/// `Convert` listing keys that no official model has, or tensors of another form.
pub fn to_deem<'a>(
    tensors: Vec<LazyTensor<'a>>,
    path: &Path,
) -> Result<(Vec<LazyTensor<'a>>, Vec<String>), WeightsError> {
    let wrong = |problem: String| WeightsError::Convert {
        path: path.into(),
        problem,
    };
    let legacy = has_legacy_keys(tensors.iter().map(|tensor| tensor.name.as_str()));
    let (mut kept, mut dropped, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for mut tensor in tensors {
        match renamed(tensor.name.trim_start_matches("module."), legacy) {
            Some(name) if name.is_empty() => dropped.push(tensor.name),
            Some(name) => {
                tensor.name = name;
                kept.push(tensor);
            }
            None => unknown.push(tensor.name),
        }
    }
    if !unknown.is_empty() {
        let count = unknown.len();
        unknown.truncate(20);
        return Err(wrong(format!(
            "{count} keys are none of an official checkpoint: {}",
            unknown.join(", ")
        )));
    }
    for tensor in &mut kept {
        if WRAPPED.contains(&tensor.name.as_str()) {
            if tensor.shape.first() != Some(&1) || tensor.shape.len() < 2 {
                let found = format!("{}: expected [1, …], found {:?}", tensor.name, tensor.shape);
                return Err(wrong(found));
            }
            tensor.shape.remove(0);
        }
    }
    let appended = kept
        .iter()
        .find(|tensor| tensor.name == "text_decoder.head_new.weight");
    if let Some(appended) = appended.and_then(|tensor| tensor.shape.first().copied()) {
        own_words(&mut kept, appended).map_err(wrong)?;
    }
    Ok((kept, dropped))
}

/// A key here; empty if it is not kept, `None` if it is unknown.
fn renamed(key: &str, legacy: bool) -> Option<String> {
    if COMPUTED.iter().any(|end| key.ends_with(end)) {
        return Some(String::new());
    }
    let (from, to) = BEGINNINGS.iter().find(|(from, _)| key.starts_with(from))?;
    if to.is_empty() {
        return Some(String::new());
    }
    let name = format!("{to}{}", &key[from.len()..]);
    let name = WITHIN
        .iter()
        .fold(name, |name, (from, to)| name.replacen(from, to, 1));
    Some(if legacy && name.starts_with("autoencoder.") {
        modern_key(&name)
    } else {
        name
    })
}

/// Cuts the rows of appended tokens off the language model's tables; adds the embedding of the first
/// of them, `<soi>`, to the learnable vector.
fn own_words<'a>(tensors: &mut Vec<LazyTensor<'a>>, appended: usize) -> Result<(), String> {
    for name in ["llama.model.embed_tokens.weight", "llama.lm_head.weight"] {
        let Some(table) = take(tensors, name) else {
            continue;
        };
        let [rows, width] = table.shape[..] else {
            return Err(format!("{name}: expected a table, found {:?}", table.shape));
        };
        let own = rows.checked_sub(appended);
        let own = own.ok_or_else(|| format!("{name}: {rows} rows, {appended} appended tokens"))?;
        if name.contains("embed_tokens")
            && let Some(soi) = take(tensors, "soi_token")
        {
            let floats = |tensor: &LazyTensor| {
                let values = tensor.f32();
                values.ok_or_else(|| format!("{}: expected floating-point numbers", tensor.name))
            };
            let (learned, embedded) = (floats(&soi)?, floats(&table)?);
            if learned.len() != width {
                return Err(format!(
                    "soi_token: expected {width} numbers, found {}",
                    learned.len()
                ));
            }
            let row = &embedded[own * width..(own + 1) * width];
            let sum: Vec<u8> = learned
                .iter()
                .zip(row)
                .flat_map(|(a, b)| (a + b).to_le_bytes())
                .collect();
            tensors.push(LazyTensor {
                name: "soi_token".into(),
                dtype: Dtype::F32,
                shape: vec![width],
                read: Box::new(move || sum.clone()),
            });
        }
        let length = table.len() / rows.max(1) * own;
        let read = table.read;
        tensors.push(LazyTensor {
            name: table.name,
            dtype: table.dtype,
            shape: vec![own, width],
            read: Box::new(move || {
                let mut bytes = read();
                bytes.truncate(length);
                bytes
            }),
        });
    }
    Ok(())
}

fn take<'a>(tensors: &mut Vec<LazyTensor<'a>>, name: &str) -> Option<LazyTensor<'a>> {
    let at = tensors.iter().position(|tensor| tensor.name == name)?;
    Some(tensors.swap_remove(at))
}
