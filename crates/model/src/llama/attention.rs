use burn::module::Module;
use burn::tensor::{Bool, Device, Tensor, TensorData};
use deem_kernels::{AttentionMask, KeyValues, rotary};

use super::{LlamaConfig, RopeParameters};
use crate::attention::{join_heads, mix_heads, score_scale, split_heads};
use crate::nn::{Linear, RmsNorm};
use crate::weights::set;

/// Causal self-attention with rotary positions and grouped key-value heads.
#[derive(Module, Debug)]
pub struct LlamaAttention {
    /// `hidden_size` → `heads * head_dim`
    pub q_proj: Linear,
    /// `hidden_size` → `kv_heads * head_dim`
    pub k_proj: Linear,
    /// `hidden_size` → `kv_heads * head_dim`
    pub v_proj: Linear,
    /// `heads * head_dim` → `hidden_size`
    pub o_proj: Linear,
    /// Of each head's queries (Qwen3).
    pub q_norm: Option<RmsNorm>,
    /// Of each head's keys (Qwen3).
    pub k_norm: Option<RmsNorm>,
    #[module(skip)]
    head_dim: usize,
    /// Factor on queries, where scores are not scaled by `1 / √head_dim`.
    #[module(skip)]
    query_scale: Option<f64>,
    #[module(skip)]
    turns: bool,
    /// Positions that a query sees, its own included.
    #[module(skip)]
    window: Option<usize>,
}

/// What all layers of one call share.
#[derive(Clone, Debug)]
pub(super) struct AttentionContext {
    /// `[batch, seq, head_dim]`
    pub cos: Tensor<3>,
    /// `[batch, seq, head_dim]`
    pub sin: Tensor<3>,
    /// `[batch, keys]`, true = visible
    pub key_padding: Option<Tensor<2, Bool>>,
    /// `[1, 1, seq, keys]`, added to scores in layers with a window; absent if it hides nothing.
    pub window: Option<Tensor<4>>,
}

/// What a layer has read before.
#[derive(Debug)]
pub(super) enum Past<'a> {
    /// Nothing that is to be remembered.
    None,
    /// All rows together.
    Together(&'a mut KeyValues),
    /// Each row for itself.
    Apart(Vec<&'a mut KeyValues>),
}

impl LlamaAttention {
    /// Initial values under which a token attends to others like itself (after "mimetic initialization", Trockman and
    /// Kolter, 2023): queries are made as the keys of their head are, both `sharpness` times as large as they were, and
    /// what all entries of an input have in common counts for neither.
    #[must_use]
    pub fn resembling(mut self, sharpness: f32) -> Self {
        let keys = self.k_proj.weight.val();
        let keys = (keys.clone() - keys.mean_dim(1)).mul_scalar(sharpness);
        let queries = self.of_heads(keys.clone());
        self.q_proj.weight = set(self.q_proj.weight, queries.into_data());
        self.k_proj.weight = set(self.k_proj.weight, keys.into_data());
        self
    }

    /// Initial values under which a head passes on what it attends to, as it is: its output projection is its value
    /// projection's transpose times `share`, with the opposite sign in every other head. Whether a token is the same as
    /// another one can then be told of any token, instead of being learned for each (Boix-Adserà et al., 2023).
    #[must_use]
    pub fn passing_on(mut self, share: f32) -> Self {
        let values = self.of_heads(self.v_proj.weight.val());
        let [rows, _] = values.dims();
        let sign = |row: usize| match (row / self.head_dim).is_multiple_of(2) {
            true => share,
            false => -share,
        };
        let signs = TensorData::new((0..rows).map(sign).collect(), [rows, 1]);
        let signs = Tensor::from_data(signs, &values.device());
        let outputs = (values * signs).transpose();
        self.o_proj.weight = set(self.o_proj.weight, outputs.into_data());
        self
    }

    /// Initial values under which the first `heads` heads attend to what stands one, two, … tokens before, whatever it is:
    /// to know what stood before each token is the half of finding back to it that is learned last (induction heads,
    /// Olsson et al., 2022).
    ///
    /// Queries and keys are made from what all inputs have in common, so that they turn with positions only: entries that
    /// add up to `common`. In head `n` the keys are ahead of the queries by `n + 1` positions, in the four fastest
    /// frequencies of `rope`.
    #[must_use]
    pub fn looking_back(mut self, heads: usize, rope: &RopeParameters, common: f32) -> Self {
        const PAIRS: usize = 4;
        /// Scores where a head looks; 0.7 of it beside that.
        const SCORE: f64 = 14.0;
        let (frequencies, _) = rope.frequencies(self.head_dim, 0);
        let pairs = PAIRS.min(frequencies.len());
        let size =
            (SCORE / pairs as f64 * (self.head_dim as f64).sqrt()).sqrt() / f64::from(common);
        let aimed = |mut linear: Linear, ahead: bool| {
            let [rows, width] = linear.weight.val().dims();
            let data = linear.weight.val().into_data();
            let mut values: Vec<f32> = data.iter::<f32>().collect();
            for head in 0..heads.min(rows / self.head_dim) {
                let at = head * self.head_dim;
                values[at * width..(at + self.head_dim) * width].fill(0.0);
                for (pair, frequency) in frequencies[..pairs].iter().enumerate() {
                    let turned = if ahead { (head + 1) as f64 } else { 0.0 };
                    let (sine, cosine) = libm::sincos(turned * f64::from(*frequency));
                    for (row, value) in [(pair, cosine), (pair + self.head_dim / 2, sine)] {
                        let start = (at + row) * width;
                        values[start..start + width].fill((size * value) as f32);
                    }
                }
            }
            linear.weight = set(
                linear.weight.clone(),
                TensorData::new(values, [rows, width]),
            );
            linear
        };
        self.q_proj = aimed(self.q_proj, false);
        self.k_proj = aimed(self.k_proj, true);
        self
    }

    /// Rows of a projection of keys or values, repeated for the heads that share them.
    fn of_heads(&self, weight: Tensor<2>) -> Tensor<2> {
        let [rows, width] = weight.dims();
        let [queries, _] = self.q_proj.weight.val().dims();
        weight
            .reshape([rows / self.head_dim, 1, self.head_dim * width])
            .repeat_dim(1, queries / rows)
            .reshape([queries, width])
    }

    pub(super) fn new(config: &LlamaConfig, layer: usize, device: &Device) -> Self {
        let (hidden, head_dim) = (config.hidden_size, config.head_width());
        let queries = config.num_attention_heads * head_dim;
        let keys = config.kv_heads() * head_dim;
        let biased = config.attention_bias || config.model_type.biased();
        let linear = |outputs| Linear::new(hidden, outputs, biased, device);
        let norm = || {
            let normalises = config.model_type.normalises_heads();
            normalises.then(|| RmsNorm::new(head_dim, config.rms_norm_eps, device))
        };
        let scale = config.attention_multiplier;
        Self {
            q_proj: linear(queries),
            k_proj: linear(keys),
            v_proj: linear(keys),
            o_proj: Linear::new(queries, hidden, config.attention_bias, device),
            q_norm: norm(),
            k_norm: norm(),
            head_dim,
            query_scale: scale.map(|scale| scale * (head_dim as f64).sqrt()),
            turns: config.turns(layer),
            window: config.window(layer),
        }
    }

    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        context: &AttentionContext,
        past: Past,
    ) -> Tensor<3> {
        let heads = |x: Tensor<3>| {
            let count = x.dims()[2] / self.head_dim;
            split_heads(x, count)
        };
        let query = heads(self.q_proj.forward(x.clone()));
        let key = heads(self.k_proj.forward(x.clone()));
        let value = heads(self.v_proj.forward(x));
        let turned = |x: Tensor<4>, norm: &Option<RmsNorm>| {
            let x = match norm {
                Some(norm) => norm.forward(x),
                None => x,
            };
            if self.turns {
                rotary(x, context.cos.clone(), context.sin.clone())
            } else {
                x
            }
        };
        let query = turned(query, &self.q_norm);
        let key = turned(key, &self.k_norm);
        let query = match self.query_scale {
            Some(scale) => query.mul_scalar(scale),
            None => query,
        };
        let mask = AttentionMask {
            causal: true,
            key_padding: context.key_padding.clone(),
            bias: context.window.clone().filter(|_| self.window.is_some()),
        };
        // One new position that sees all others, or the last ones, needs no mask.
        let single = query.dims()[2] == 1 && context.key_padding.is_none();
        let attend = |query: Tensor<4>, caches: &[&KeyValues]| {
            let scale = score_scale(self.head_dim);
            join_heads(KeyValues::attend(caches, query, self.window, scale))
        };
        let mixed = match past {
            Past::None => mix_heads(query, key, value, mask),
            Past::Together(cache) => {
                cache.append(key, value);
                match cache.tensors().filter(|_| !single) {
                    Some((key, value)) => mix_heads(query, key, value, mask),
                    None => attend(query, &[cache]),
                }
            }
            Past::Apart(mut caches) => {
                KeyValues::append_each(&mut caches, &key, &value);
                let caches: Vec<&KeyValues> = caches.into_iter().map(|cache| &*cache).collect();
                attend(query, &caches)
            }
        };
        self.o_proj.forward(mixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llama::rope::Rotary;
    use crate::weights::init::initialize;

    /// Four heads of two numbers, in pairs that share keys and values.
    fn layer() -> LlamaAttention {
        let config: LlamaConfig = serde_json::from_value(serde_json::json!({
            "vocab_size": 4, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 4, "num_key_value_heads": 2,
        }))
        .unwrap();
        initialize(LlamaAttention::new(&config, 0, &Device::flex()), 3, &[])
    }

    fn values(linear: &Linear) -> Vec<f32> {
        linear.weight.val().into_data().try_into_vec().unwrap()
    }

    #[test]
    fn queries_are_made_as_the_keys_of_their_group() {
        let own = layer();
        let keys = values(&own.k_proj);
        let resembling = own.resembling(1.5);
        let (queries, sharp) = (values(&resembling.q_proj), values(&resembling.k_proj));
        // Two rows of eight numbers a head; heads 0 and 1 share the keys of group 0, 2 and 3 those of group 1.
        for (at, query) in queries.into_iter().enumerate() {
            let (head, within) = (at / 16, at % 16);
            assert_eq!(query, sharp[head / 2 * 16 + within], "{at}");
        }
        for (row, sharp) in keys.chunks(8).zip(sharp.chunks(8)) {
            let mean = row.iter().sum::<f32>() / 8.0;
            for (key, sharp) in row.iter().zip(sharp) {
                assert!(((key - mean) * 1.5 - sharp).abs() < 1e-6, "{key} {sharp}");
            }
        }
    }

    #[test]
    fn heads_look_back_by_their_number() {
        let config: LlamaConfig = serde_json::from_value(serde_json::json!({
            "vocab_size": 4, "hidden_size": 64, "intermediate_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 2,
        }))
        .unwrap();
        let attention = initialize(LlamaAttention::new(&config, 0, &Device::flex()), 3, &[]);
        let attention = attention.looking_back(2, &config.rope(), 64.0);
        // Inputs of ones: their entries add up to 64.
        let input = Tensor::<3>::ones([1, 12, 64], &Device::flex());
        let rotary = Rotary::new(config.rope(), 32, false);
        let (cos, sin) = rotary.at(&(0..12).collect::<Vec<_>>(), &input);
        let turned = |linear: &Linear| {
            let heads = split_heads(linear.forward(input.clone()), 2);
            deem_kernels::rotary(heads, cos.clone(), sin.clone())
        };
        let (queries, keys) = (turned(&attention.q_proj), turned(&attention.k_proj));
        let scores = queries
            .matmul(keys.swap_dims(2, 3))
            .div_scalar(32_f32.sqrt());
        for head in 0..2 {
            for query in 4..12 {
                let row =
                    scores
                        .clone()
                        .slice([0..1, head..head + 1, query..query + 1, 0..query + 1]);
                let row: Vec<f32> = row.into_data().iter::<f32>().collect();
                let best = row.iter().copied().fold(f32::MIN, f32::max);
                assert_eq!(row[query - head - 1], best, "{row:?}");
                assert!((best - 14.0).abs() < 1e-3, "{best}");
            }
        }
    }

    #[test]
    fn heads_pass_on_what_they_attend_to_with_signs_in_turn() {
        let own = layer();
        let of_values = values(&own.v_proj);
        // [8 outputs, 4 heads of 2]
        for (at, value) in values(&own.passing_on(0.25).o_proj).into_iter().enumerate() {
            let (output, row) = (at / 8, at % 8);
            let (head, within) = (row / 2, row % 2);
            let sign = if head % 2 == 0 { 0.25 } else { -0.25 };
            let expected = sign * of_values[(head / 2 * 2 + within) * 8 + output];
            assert_eq!(value, expected, "{at}");
        }
    }
}
