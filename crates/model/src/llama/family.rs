use serde::{Deserialize, Serialize};

/// The public class whose arithmetic a checkpoint means. All have LLaMA's keys; what differs is in
/// [`LlamaConfig`](super::LlamaConfig) or follows from the class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// `LlamaForCausalLM`.
    #[default]
    Llama,
    /// `MistralForCausalLM`: windows.
    Mistral,
    /// `Qwen2ForCausalLM`: biases of queries, keys and values; windows in some layers.
    Qwen2,
    /// `Qwen3ForCausalLM`: norms of queries and keys; windows in some layers.
    Qwen3,
    /// `GraniteForCausalLM`: factors on embeddings, scores, residuals and logits.
    Granite,
    /// `SmolLM3ForCausalLM`: layers without rotary positions.
    SmolLm3,
    /// `GemmaForCausalLM`: scaled embeddings, norms with one added to their weights.
    Gemma,
}

impl Family {
    /// All of them: `model_type`, and what the names in `architectures` begin with.
    pub const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::Llama, "llama", "Llama"),
        (Self::Mistral, "mistral", "Mistral"),
        (Self::Qwen2, "qwen2", "Qwen2"),
        (Self::Qwen3, "qwen3", "Qwen3"),
        (Self::Granite, "granite", "Granite"),
        (Self::SmolLm3, "smollm3", "SmolLM3"),
        (Self::Gemma, "gemma", "Gemma"),
    ];

    /// Whether it is LLaMA itself.
    pub(super) fn is_llama(&self) -> bool {
        *self == Self::Llama
    }

    /// Whether queries, keys and values have biases, whatever `attention_bias` says.
    pub(super) fn biased(self) -> bool {
        self == Self::Qwen2
    }

    /// Whether queries and keys are normalised head by head.
    pub(super) fn normalises_heads(self) -> bool {
        self == Self::Qwen3
    }

    /// What is added to the weights of norms.
    pub(super) fn norm_offset(self) -> f64 {
        if self == Self::Gemma { 1.0 } else { 0.0 }
    }
}

/// What a layer's tokens see of those before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerType {
    /// All of them.
    FullAttention,
    /// The nearest ones, themselves included: as many as `sliding_window` says.
    SlidingAttention,
}
