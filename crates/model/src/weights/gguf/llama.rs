//! A LLaMA in a GGUF file, in transformers' terms.

use std::borrow::Cow;

use super::GgufFile;
use super::header::Described;
use crate::llama::{LlamaConfig, RopeParameters, RopeType};
use crate::weights::WeightsError;

/// Names outside layers, and what transformers calls them.
const OUTSIDE: [(&str, &str); 3] = [
    ("token_embd.", "model.embed_tokens."),
    ("output_norm.", "model.norm."),
    ("output.", "lm_head."),
];

/// Names within layers.
const WITHIN: [(&str, &str); 9] = [
    ("attn_norm.", "input_layernorm."),
    ("attn_q.", "self_attn.q_proj."),
    ("attn_k.", "self_attn.k_proj."),
    ("attn_v.", "self_attn.v_proj."),
    ("attn_output.", "self_attn.o_proj."),
    ("ffn_norm.", "post_attention_layernorm."),
    ("ffn_gate.", "mlp.gate_proj."),
    ("ffn_up.", "mlp.up_proj."),
    ("ffn_down.", "mlp.down_proj."),
];

/// Divisors of the rotary frequencies: configuration in a tensor's clothes.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Rows of a query or key projection whose rotated pairs stand side by side (0 and 1, 2 and 3, …), as
/// llama.cpp wants them; transformers rotates row i of a head with row i + half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::weights) struct Rotated {
    heads: usize,
}

impl Rotated {
    /// Brings the rows of `[heads · width, ..]` numbers into transformers' order.
    pub(in crate::weights) fn restore<T: Copy>(self, numbers: &[T], rows: usize) -> Vec<T> {
        let row = numbers.len() / rows.max(1);
        let mut restored = Vec::with_capacity(numbers.len());
        for source in self.sources(rows) {
            restored.extend_from_slice(&numbers[source * row..][..row]);
        }
        restored
    }

    /// Where the file has each of the rows.
    pub(in crate::weights) fn sources(self, rows: usize) -> impl Iterator<Item = usize> {
        let width = rows / self.heads;
        (0..rows).map(move |target| {
            let (head, within) = (target / width, target % width);
            let (half, pair) = (within / (width / 2), within % (width / 2));
            head * width + 2 * pair + half
        })
    }
}

/// A tensor under its key in transformers.
pub(in crate::weights) struct Keyed<'a> {
    pub(in crate::weights) key: Cow<'a, str>,
    pub(in crate::weights) tensor: &'a Described,
    pub(in crate::weights) rotated: Option<Rotated>,
}

impl GgufFile {
    /// The configuration of the LLaMA in this file.
    ///
    /// # Errors
    /// `Gguf` naming the field that is missing, of another type, or means another network.
    pub fn llama_config(&self) -> Result<LlamaConfig, WeightsError> {
        self.require_llama()?;
        let need = |name: &str| self.count(name)?.ok_or_else(|| self.absent(name));
        let heads = need("llama.attention.head_count")?;
        let hidden = need("llama.embedding_length")?;
        let kv_heads = self.count("llama.attention.head_count_kv")?;
        let own = self.count("llama.attention.key_length")?;
        let width = own.unwrap_or(hidden / heads.max(1));
        for field in ["llama.attention.value_length", "llama.rope.dimension_count"] {
            if let Some(found) = self.count(field)?.filter(|found| *found != width) {
                return Err(self.wrong(format!(
                    "field {field}: expected {width}, the width of a head, found {found}"
                )));
            }
        }
        if self.count("llama.expert_count")?.unwrap_or(0) > 0 {
            return Err(self.wrong("it mixes experts, which this LLaMA does not".into()));
        }
        let eps = "llama.attention.layer_norm_rms_epsilon";
        let table = self.tensor("token_embd.weight");
        let table =
            table.ok_or_else(|| self.wrong("tensor token_embd.weight: not there".into()))?;
        let length = need("llama.context_length")?;
        let theta = self.number("llama.rope.freq_base")?.unwrap_or(10_000.0);
        let config = LlamaConfig {
            vocab_size: table.shape().first().copied().unwrap_or(0),
            hidden_size: hidden,
            intermediate_size: need("llama.feed_forward_length")?,
            num_hidden_layers: need("llama.block_count")?,
            num_attention_heads: heads,
            num_key_value_heads: Some(kv_heads.unwrap_or(heads)),
            head_dim: own.or_else(|| (width * heads == hidden).then_some(width)),
            max_position_embeddings: length,
            rms_norm_eps: self.number(eps)?.ok_or_else(|| self.absent(eps))?,
            tie_word_embeddings: self.tensor("output.weight").is_none(),
            attention_bias: self.tensor("blk.0.attn_q.bias").is_some(),
            mlp_bias: self.tensor("blk.0.ffn_up.bias").is_some(),
            rope_parameters: Some(self.rope(theta, width)?),
            ..LlamaConfig::default()
        };
        config
            .validate()
            .map_err(|error| self.wrong(error.to_string()))?;
        Ok(config)
    }

    fn absent(&self, field: &str) -> WeightsError {
        self.wrong(format!("field {field}: not there"))
    }

    fn require_llama(&self) -> Result<(), WeightsError> {
        let parts = self.count("split.count")?.unwrap_or(1);
        if parts > 1 {
            return Err(self.wrong(format!(
                "it is one of {parts} parts; put them together (llama-gguf-split --merge)"
            )));
        }
        match self.text("general.architecture")? {
            Some("llama") => Ok(()),
            found => Err(self.wrong(format!(
                "field general.architecture: expected llama, found {}",
                found.unwrap_or("none")
            ))),
        }
    }

    /// Base and scaling of the rotary frequencies.
    fn rope(&self, theta: f64, width: usize) -> Result<RopeParameters, WeightsError> {
        let plain = RopeParameters {
            rope_type: Some(RopeType::Default),
            rope_theta: Some(theta),
            ..RopeParameters::default()
        };
        if let Some(divisors) = self.f32(ROPE_FACTORS) {
            return llama3(&plain, &divisors, width).ok_or_else(|| {
                self.wrong(format!(
                    "tensor {ROPE_FACTORS}: not the divisors of LLaMA 3.1 and its successors, which alone \
                     are known; take the model as safetensors"
                ))
            });
        }
        let field = "llama.rope.scaling.type";
        let factor = match self.number("llama.rope.scaling.factor")? {
            None => self.number("llama.rope.scale_linear")?,
            found => found,
        };
        let kind = match (self.text(field)?, factor) {
            (None, None) | (Some("none"), _) => return Ok(plain),
            (None | Some("linear"), _) => RopeType::Linear,
            (Some("yarn"), _) => RopeType::Yarn,
            (Some(other), _) => {
                return Err(self.wrong(format!(
                    "field {field}: expected none, linear or yarn, found {other}"
                )));
            }
        };
        Ok(RopeParameters {
            rope_type: Some(kind),
            factor,
            original_max_position_embeddings: self
                .count("llama.rope.scaling.original_context_length")?,
            ..plain
        })
    }

    /// All tensors under transformers' keys; unknown ones keep their name, so that loading reports them.
    pub(in crate::weights) fn llama_tensors(&self) -> Result<Vec<Keyed<'_>>, WeightsError> {
        let config = self.llama_config()?;
        let mut keyed = Vec::new();
        for tensor in self.described() {
            if tensor.name == ROPE_FACTORS {
                continue;
            }
            let key = key(&tensor.name);
            let heads = if key.contains(".self_attn.q_proj.") {
                Some(config.num_attention_heads)
            } else if key.contains(".self_attn.k_proj.") {
                Some(config.kv_heads())
            } else {
                None
            };
            let rotated = heads.map(|heads| Rotated { heads });
            let rows = tensor.shape.first().copied().unwrap_or(0);
            let expected = heads.map(|heads| heads.saturating_mul(config.head_width()));
            if let Some(expected) = expected.filter(|expected| *expected != rows) {
                return Err(self.wrong(format!(
                    "tensor {}: expected {expected} rows, found {rows}",
                    tensor.name
                )));
            }
            keyed.push(Keyed {
                key,
                tensor,
                rotated,
            });
        }
        Ok(keyed)
    }
}

/// What transformers calls a tensor.
fn key(name: &str) -> Cow<'_, str> {
    let renamed = |table: &[(&str, &str)], name: &str| {
        let (own, other) = table.iter().find(|(own, _)| name.starts_with(own))?;
        Some(format!("{other}{}", &name[own.len()..]))
    };
    let within = || {
        let (index, rest) = name.strip_prefix("blk.")?.split_once('.')?;
        let rest = renamed(&WITHIN, rest)?;
        Some(format!("model.layers.{index}.{rest}"))
    };
    let found = within().or_else(|| renamed(&OUTSIDE, name));
    found.map_or(Cow::Borrowed(name), Cow::Owned)
}

/// The configuration whose divisors of the rotary frequencies are these, if there is one: LLaMA 3.1 and
/// its successors differ in the factor only.
fn llama3(plain: &RopeParameters, divisors: &[f32], width: usize) -> Option<RopeParameters> {
    if divisors.len() != width / 2 {
        return None;
    }
    // Of the slowest rotation the file has the factor itself, in single precision.
    let factor = divisors
        .last()
        .map(|last| (f64::from(*last) * 1e3).round() / 1e3);
    let candidate = RopeParameters {
        rope_type: Some(RopeType::Llama3),
        factor,
        low_freq_factor: Some(1.0),
        high_freq_factor: Some(4.0),
        original_max_position_embeddings: Some(8192),
        ..plain.clone()
    };
    let (whole, _) = plain.frequencies(width, 0);
    let (scaled, _) = candidate.frequencies(width, 0);
    let quotients = whole
        .iter()
        .zip(&scaled)
        .map(|(whole, scaled)| whole / scaled);
    let mut pairs = quotients.zip(divisors);
    let same = pairs.all(|(quotient, divisor)| (quotient / divisor - 1.0).abs() < 1e-4);
    same.then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_transformers() {
        for (name, expected) in [
            ("token_embd.weight", "model.embed_tokens.weight"),
            ("output_norm.weight", "model.norm.weight"),
            ("output.weight", "lm_head.weight"),
            (
                "blk.12.attn_output.weight",
                "model.layers.12.self_attn.o_proj.weight",
            ),
            ("blk.0.attn_q.bias", "model.layers.0.self_attn.q_proj.bias"),
            ("blk.0.attn_q_norm.weight", "blk.0.attn_q_norm.weight"),
            ("blk", "blk"),
        ] {
            assert_eq!(key(name), expected);
        }
    }

    #[test]
    fn pairs_side_by_side_become_halves() {
        // Two heads of four rows of two numbers.
        let numbers: Vec<u8> = (0..16).collect();
        let restored = Rotated { heads: 2 }.restore(&numbers, 8);
        let rows: Vec<u8> = restored.chunks(2).map(|row| row[0] / 2).collect();
        assert_eq!(rows, [0, 2, 1, 3, 4, 6, 5, 7]);
    }

    #[test]
    fn llama_3_is_recognised_by_its_divisors() {
        let plain = RopeParameters {
            rope_theta: Some(500_000.0),
            ..RopeParameters::default()
        };
        let divisors = |config: &RopeParameters| -> Vec<f32> {
            let (whole, _) = plain.frequencies(64, 0);
            let (scaled, _) = config.frequencies(64, 0);
            whole.iter().zip(scaled).map(|(w, s)| w / s).collect()
        };
        let published = RopeParameters {
            rope_type: Some(RopeType::Llama3),
            factor: Some(32.0),
            low_freq_factor: Some(1.0),
            high_freq_factor: Some(4.0),
            original_max_position_embeddings: Some(8192),
            ..plain.clone()
        };
        let found = llama3(&plain, &divisors(&published), 64).unwrap();
        assert_eq!(found.factor, Some(32.0));
        let other = RopeParameters {
            high_freq_factor: Some(2.0),
            ..published
        };
        assert!(llama3(&plain, &divisors(&other), 64).is_none());
        assert!(llama3(&plain, &[], 64).is_none());
    }
}
