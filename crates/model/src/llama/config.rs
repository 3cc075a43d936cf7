use serde::{Deserialize, Serialize};

use super::rope::{RopeParameters, RopeType};
use super::{Family, LayerType};
use crate::activation::Activation;
use crate::checks::{Number, numbers};
use crate::mmfs::MmfsConfig;

/// What can be wrong with a LLaMA configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LlamaError {
    /// Everything that does not fit together.
    #[error("LLaMA configuration: {}", .0.join("; "))]
    Config(Vec<String>),
}

/// `config.json` of transformers' `LlamaConfig` and its relatives, resolved: what the class of a file makes of its
/// fields is settled when it is [read](crate::published::Published).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LlamaConfig {
    /// The class whose arithmetic is meant.
    #[serde(skip_serializing_if = "Family::is_llama")]
    pub model_type: Family,
    /// Rows of the embedding table and of the head.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; absent: as many as query heads.
    pub num_key_value_heads: Option<usize>,
    /// Width of a head; absent: `hidden_size / num_attention_heads`.
    pub head_dim: Option<usize>,
    /// Nonlinearity of the MLP's gate.
    pub hidden_act: Activation,
    /// Context length of the training.
    pub max_position_embeddings: usize,
    /// Constant of all norms.
    pub rms_norm_eps: f64,
    /// Use the embedding table as head.
    pub tie_word_embeddings: bool,
    /// Biases in the attention's projections.
    pub attention_bias: bool,
    /// Biases in the MLP.
    pub mlp_bias: bool,
    /// Base of the rotary frequencies (files before transformers 5).
    pub rope_theta: Option<f64>,
    /// Scaling of the rotary frequencies (files before transformers 5).
    pub rope_scaling: Option<RopeParameters>,
    /// Base and scaling of the rotary frequencies.
    pub rope_parameters: Option<RopeParameters>,
    /// Tokens that a token sees, itself included, in layers with a window; absent: all before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sliding_window: Option<usize>,
    /// Which layers have that window; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_types: Option<Vec<LayerType>>,
    /// 1 for layers that turn queries and keys by their positions, 0 for those that do not; absent: all do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_rope_layers: Option<Vec<u8>>,
    /// Granite: factor on embeddings.
    #[serde(skip_serializing_if = "is_one")]
    pub embedding_multiplier: f64,
    /// Granite: factor on attention's scores, instead of `1 / √head_dim`; absent: that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention_multiplier: Option<f64>,
    /// Granite: factor on what attention and MLP add.
    #[serde(skip_serializing_if = "is_one")]
    pub residual_multiplier: f64,
    /// Granite: logits are divided by this.
    #[serde(skip_serializing_if = "is_one")]
    pub logits_scaling: f64,
}

fn is_one(factor: &f64) -> bool {
    *factor == 1.0
}

impl Default for LlamaConfig {
    /// LLaMA-7B.
    fn default() -> Self {
        Self {
            vocab_size: 32_000,
            hidden_size: 4096,
            intermediate_size: 11_008,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: None,
            head_dim: None,
            hidden_act: Activation::Silu,
            max_position_embeddings: 2048,
            rms_norm_eps: 1e-6,
            tie_word_embeddings: false,
            attention_bias: false,
            mlp_bias: false,
            rope_theta: None,
            rope_scaling: None,
            rope_parameters: None,
            model_type: Family::Llama,
            sliding_window: None,
            layer_types: None,
            no_rope_layers: None,
            embedding_multiplier: 1.0,
            attention_multiplier: None,
            residual_multiplier: 1.0,
            logits_scaling: 1.0,
        }
    }
}

impl LlamaConfig {
    /// Key and value heads.
    pub fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Width of a head.
    pub fn head_width(&self) -> usize {
        self.head_dim
            .unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Tokens that a token of a layer sees, itself included; `None`: all before it.
    pub fn window(&self, layer: usize) -> Option<usize> {
        let kinds = self.layer_types.as_ref();
        let full = kinds.and_then(|kinds| kinds.get(layer)) == Some(&LayerType::FullAttention);
        self.sliding_window.filter(|_| !full)
    }

    /// Whether a layer turns queries and keys by their positions.
    pub fn turns(&self, layer: usize) -> bool {
        let turns = self.no_rope_layers.as_ref();
        turns.is_none_or(|turns| turns.get(layer) != Some(&0))
    }

    /// Rotary parameters with everything filled in, in transformers' order of precedence: old
    /// `rope_scaling`, then `rope_parameters`, then `rope_theta`, then 10000.
    pub fn rope(&self) -> RopeParameters {
        let mut rope = self
            .rope_scaling
            .clone()
            .or_else(|| self.rope_parameters.clone())
            .unwrap_or_default();
        let theta = rope.rope_theta.or(self.rope_theta).unwrap_or(10_000.0);
        rope.rope_theta = Some(theta);
        rope.rope_type = Some(rope.kind());
        let length = self.max_position_embeddings;
        let original = match rope.kind() {
            RopeType::Dynamic => length,
            _ => rope.original_max_position_embeddings.unwrap_or(length),
        };
        rope.original_max_position_embeddings = Some(original);
        if matches!(rope.kind(), RopeType::Yarn | RopeType::Longrope) {
            let ratio = length as f64 / original.max(1) as f64;
            rope.factor.get_or_insert(ratio);
        }
        rope
    }

    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// `Config` listing every problem.
    pub fn validate(&self) -> Result<(), LlamaError> {
        let mut problems = Vec::new();
        for (field, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.kv_heads()),
            ("head_dim", self.head_width()),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            if value == 0 {
                problems.push(format!("`{field}` is 0"));
            }
        }
        let (heads, kv_heads) = (self.num_attention_heads, self.kv_heads());
        if kv_heads != 0 && heads % kv_heads != 0 {
            problems.push(format!(
                "`num_attention_heads` ({heads}) is not a multiple of `num_key_value_heads` ({kv_heads})"
            ));
        }
        if self.head_dim.is_none() && heads != 0 && !self.hidden_size.is_multiple_of(heads) {
            problems.push(format!(
                "`hidden_size` ({}) is not a multiple of `num_attention_heads` ({heads}); give `head_dim`",
                self.hidden_size
            ));
        }
        if !self.head_width().is_multiple_of(2) {
            problems.push(format!(
                "heads of odd width ({}) cannot be rotated",
                self.head_width()
            ));
        }
        let layers = self.num_hidden_layers;
        for (field, found) in [
            ("layer_types", self.layer_types.as_ref().map(Vec::len)),
            ("no_rope_layers", self.no_rope_layers.as_ref().map(Vec::len)),
        ] {
            if let Some(found) = found.filter(|found| *found != layers) {
                problems.push(format!("`{field}` has {found} entries for {layers} layers"));
            }
        }
        let slides = |kinds: &Vec<LayerType>| kinds.contains(&LayerType::SlidingAttention);
        match self.sliding_window {
            Some(0) => problems.push("`sliding_window` is 0; leave it out for none".into()),
            None if self.layer_types.as_ref().is_some_and(slides) => {
                problems.push("`layer_types` has windows, but there is no `sliding_window`".into());
            }
            _ => {}
        }
        let attention = self.attention_multiplier.unwrap_or(1.0);
        problems.extend(numbers(&[
            ("rms_norm_eps", self.rms_norm_eps, Number::FromZero),
            (
                "embedding_multiplier",
                self.embedding_multiplier,
                Number::Any,
            ),
            ("attention_multiplier", attention, Number::Any),
            ("residual_multiplier", self.residual_multiplier, Number::Any),
            ("logits_scaling", self.logits_scaling, Number::NotZero),
        ]));
        problems.extend(
            self.rope()
                .problems(self.head_width(), self.max_position_embeddings),
        );
        if problems.is_empty() {
            Ok(())
        } else {
            Err(LlamaError::Config(problems))
        }
    }

    /// Whether rotary frequencies depend on the length of the sequence.
    pub(super) fn rope_depends_on_length(&self) -> bool {
        matches!(self.rope().kind(), RopeType::Dynamic | RopeType::Longrope)
    }
}

/// Gated MMFS cross-attention inside the language model; defaults are the paper's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LlamaMmfsConfig {
    /// Layers 0, `every`, 2 · `every`, … have a block.
    pub every: usize,
    /// Width of the image features.
    pub value_dim: usize,
    /// Width of the projected values.
    pub attention_dim: usize,
    /// Attention heads.
    pub heads: usize,
    /// Sampling points per head and level.
    pub points: usize,
    /// Nominal side of each level, finest first.
    pub levels: Vec<usize>,
    /// Offsets count cells of a map with this side.
    pub base_size: usize,
    /// Initial offsets are uniform in ± this many cells.
    pub offset_init: f32,
    /// Rows of the table of relative image positions.
    pub max_images: usize,
}

impl Default for LlamaMmfsConfig {
    fn default() -> Self {
        Self {
            every: 4,
            value_dim: 1024,
            attention_dim: 1024,
            heads: 16,
            points: 8,
            levels: vec![32, 16, 8],
            base_size: 16,
            offset_init: 3.0,
            max_images: 50,
        }
    }
}

impl LlamaMmfsConfig {
    /// The block's dimensions in a model of width `hidden_size`.
    pub fn mmfs(&self, hidden_size: usize) -> MmfsConfig {
        MmfsConfig {
            query_dim: hidden_size,
            value_dim: self.value_dim,
            attention_dim: self.attention_dim,
            heads: self.heads,
            points: self.points,
            levels: self.levels.clone(),
            base_size: self.base_size,
            offset_init: self.offset_init,
            max_images: self.max_images,
        }
    }

    /// Whether a layer has a block.
    pub fn applies(&self, layer: usize) -> bool {
        self.every != 0 && layer.is_multiple_of(self.every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> LlamaConfig {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn vicuna_file() {
        let config = parse(
            r#"{"_name_or_path": "vicuna-7b-v1.5", "architectures": ["LlamaForCausalLM"],
                "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096,
                "initializer_range": 0.02, "intermediate_size": 11008,
                "max_position_embeddings": 4096, "model_type": "llama", "num_attention_heads": 32,
                "num_hidden_layers": 32, "num_key_value_heads": 32, "pad_token_id": 0,
                "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null,
                "tie_word_embeddings": false, "torch_dtype": "float16", "vocab_size": 32000}"#,
        );
        assert_eq!(config.validate(), Ok(()));
        assert_eq!((config.kv_heads(), config.head_width()), (32, 128));
        assert_eq!(config.rope().rope_theta, Some(10_000.0));
        assert_eq!(config.rope().kind(), RopeType::Default);
    }

    #[test]
    fn old_and_new_rope_fields_agree() {
        let old = parse(
            r#"{"rope_theta": 5e5, "rope_scaling": {"type": "linear", "rope_type": "linear", "factor": 2.0}}"#,
        );
        let new = parse(
            r#"{"rope_parameters": {"rope_theta": 5e5, "rope_type": "linear", "factor": 2.0}}"#,
        );
        assert_eq!(old.rope().rope_theta, Some(5e5));
        assert_eq!(old.rope().frequencies(8, 0), new.rope().frequencies(8, 0));
    }

    #[test]
    fn every_problem_is_listed() {
        let config = LlamaConfig {
            hidden_size: 30,
            num_attention_heads: 4,
            num_key_value_heads: Some(3),
            rope_scaling: Some(RopeParameters {
                rope_type: Some(RopeType::Llama3),
                ..RopeParameters::default()
            }),
            ..LlamaConfig::default()
        };
        let LlamaError::Config(problems) = config.validate().unwrap_err();
        let text = problems.join("\n");
        for word in ["num_key_value_heads", "head_dim", "odd width", "factor"] {
            assert!(text.contains(word), "{word} in {text}");
        }
    }

    /// Each of these would make every logit no number.
    #[test]
    fn numbers_that_nothing_can_be_computed_with_are_named() {
        let told = |change: &dyn Fn(&mut LlamaConfig)| {
            let mut config = LlamaConfig::default();
            change(&mut config);
            config.validate().map_err(|error| error.to_string())
        };
        for theta in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            let found = told(&|config| config.rope_theta = Some(theta));
            assert!(found.unwrap_err().contains("rope_theta"), "{theta}");
        }
        for eps in [f64::NAN, f64::INFINITY, -1.0, 1e39] {
            let found = told(&|config| config.rms_norm_eps = eps);
            assert!(found.unwrap_err().contains("rms_norm_eps"), "{eps}");
        }
        let found = told(&|config| config.logits_scaling = 0.0).unwrap_err();
        assert!(found.contains("logits_scaling"), "{found}");
        let yarn = |change: &dyn Fn(&mut RopeParameters)| {
            told(&|config| {
                let mut rope = RopeParameters {
                    rope_type: Some(RopeType::Yarn),
                    factor: Some(4.0),
                    original_max_position_embeddings: Some(2048),
                    ..RopeParameters::default()
                };
                change(&mut rope);
                config.rope_parameters = Some(rope);
            })
        };
        assert_eq!(yarn(&|_| {}), Ok(()));
        let found = yarn(&|rope| rope.beta_fast = Some(-1.0)).unwrap_err();
        assert!(found.contains("beta_fast"), "{found}");
        let found = yarn(&|rope| rope.factor = Some(f64::INFINITY)).unwrap_err();
        assert!(found.contains("factor"), "{found}");
        let found = yarn(&|rope| rope.original_max_position_embeddings = Some(0)).unwrap_err();
        assert!(found.contains("original_max_position"), "{found}");
        let found = told(&|config| {
            config.rope_parameters = Some(RopeParameters {
                rope_type: Some(RopeType::Longrope),
                short_factor: Some(vec![1.0; 64]),
                long_factor: Some(vec![0.0; 64]),
                ..RopeParameters::default()
            });
        });
        assert!(found.unwrap_err().contains("frequencies"));
    }

    #[test]
    fn every_fourth_layer_has_a_block() {
        let config = LlamaMmfsConfig::default();
        let layers: Vec<usize> = (0..32).filter(|layer| config.applies(*layer)).collect();
        assert_eq!(layers, [0, 4, 8, 12, 16, 20, 24, 28]);
    }
}
