//! Rotary frequencies (Su et al. 2021) and their published scalings for longer contexts, after
//! transformers' `modeling_rope_utils`.

use std::f64::consts::TAU;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use libm::log;
use serde::{Deserialize, Serialize};

use crate::checks::{Number, numbers};

/// Heads wider than this are not tried out when a configuration is checked: no model has them, and a damaged file
/// might ask for more memory than there is.
const WIDEST: usize = 1 << 16;

/// How frequencies change for contexts longer than those of the training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RopeType {
    /// Not at all.
    #[default]
    Default,
    /// Positions divided by a factor.
    Linear,
    /// The base grows with the sequence (NTK-aware).
    Dynamic,
    /// Interpolation by wavelength, with a temperature (Peng et al. 2023).
    Yarn,
    /// One divisor per frequency, another set for long sequences.
    Longrope,
    /// Low frequencies divided by a factor, with a smooth transition (LLaMA 3.1).
    Llama3,
}

/// `rope_parameters` (or, older, `rope_scaling`) of `config.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RopeParameters {
    /// Kind of scaling.
    pub rope_type: Option<RopeType>,
    /// Older name of `rope_type`; files may have both.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub legacy_type: Option<RopeType>,
    /// Base of the frequencies.
    pub rope_theta: Option<f64>,
    /// Share of each head that turns; LLaMA knows only 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial_rotary_factor: Option<f64>,
    /// Scaling factor.
    pub factor: Option<f64>,
    /// Context length before scaling.
    pub original_max_position_embeddings: Option<usize>,
    /// llama3: wavelengths above `original / low_freq_factor` are divided by `factor`.
    pub low_freq_factor: Option<f64>,
    /// llama3: wavelengths below `original / high_freq_factor` are kept.
    pub high_freq_factor: Option<f64>,
    /// yarn, longrope: multiplies cosines and sines.
    pub attention_factor: Option<f64>,
    /// yarn: rotations above which frequencies are kept.
    pub beta_fast: Option<f64>,
    /// yarn: rotations below which frequencies are divided.
    pub beta_slow: Option<f64>,
    /// yarn: temperature.
    pub mscale: Option<f64>,
    /// yarn: temperature over all dimensions.
    pub mscale_all_dim: Option<f64>,
    /// yarn: round the limits of the ramp.
    pub truncate: Option<bool>,
    /// longrope: divisors for sequences up to the original length.
    pub short_factor: Option<Vec<f64>>,
    /// longrope: divisors for longer sequences.
    pub long_factor: Option<Vec<f64>>,
}

impl RopeParameters {
    /// Kind of scaling, under its newer or older name.
    pub fn kind(&self) -> RopeType {
        self.rope_type.or(self.legacy_type).unwrap_or_default()
    }

    /// What is missing, of the wrong length, or makes frequencies that are no numbers.
    ///
    /// - `longest`: positions that the model reads
    pub(super) fn problems(&self, head_dim: usize, longest: usize) -> Vec<String> {
        let kind = self.kind();
        let mut problems = Vec::new();
        if let Some(share) = self.partial_rotary_factor.filter(|share| *share != 1.0) {
            problems.push(format!("`partial_rotary_factor` {share} is not supported"));
        }
        let mut require = |field: &str, present: bool| {
            if !present {
                problems.push(format!("rope scaling {kind:?} needs `{field}`"));
            }
        };
        match kind {
            RopeType::Default => {}
            RopeType::Linear | RopeType::Dynamic | RopeType::Yarn => {
                require("factor", self.factor.is_some_and(|factor| factor > 0.0));
            }
            RopeType::Llama3 => {
                require("factor", self.factor.is_some_and(|factor| factor > 0.0));
                require("low_freq_factor", self.low_freq_factor.is_some());
                require("high_freq_factor", self.high_freq_factor.is_some());
            }
            RopeType::Longrope => {
                let fits = |factors: &Option<Vec<f64>>| {
                    factors.as_ref().is_some_and(|f| f.len() == head_dim / 2)
                };
                require(
                    "short_factor (head_dim / 2 numbers)",
                    fits(&self.short_factor),
                );
                require(
                    "long_factor (head_dim / 2 numbers)",
                    fits(&self.long_factor),
                );
            }
        }
        let of_kind: &[(&str, Option<f64>, Number)] = match kind {
            RopeType::Default => &[],
            _ => &[
                ("factor", self.factor, Number::Positive),
                ("low_freq_factor", self.low_freq_factor, Number::Any),
                ("high_freq_factor", self.high_freq_factor, Number::Any),
                ("attention_factor", self.attention_factor, Number::Positive),
                ("beta_fast", self.beta_fast, Number::Positive),
                ("beta_slow", self.beta_slow, Number::Positive),
                ("mscale", self.mscale, Number::Any),
                ("mscale_all_dim", self.mscale_all_dim, Number::Any),
            ],
        };
        if kind != RopeType::Default && self.original_max_position_embeddings == Some(0) {
            problems.push("`original_max_position_embeddings` is 0".into());
        }
        let theta = ("rope_theta", self.rope_theta, Number::Positive);
        let given = of_kind.iter().chain([&theta]);
        let given: Vec<_> = given
            .filter_map(|(field, value, may)| value.map(|value| (*field, value, *may)))
            .collect();
        problems.extend(numbers(&given));
        if problems.is_empty() && head_dim <= WIDEST {
            let finite = [0, longest, longest.saturating_mul(2)]
                .iter()
                .all(|length| {
                    let (frequencies, factor) = self.frequencies(head_dim, *length);
                    factor.is_finite() && frequencies.iter().all(|frequency| frequency.is_finite())
                });
            if !finite {
                problems.push(format!(
                    "rope scaling {kind:?} gives frequencies that are no numbers; check its fields"
                ));
            }
        }
        problems
    }

    /// Angle per position of each pair of channels, and the factor on cosines and sines.
    ///
    /// - `length`: longest sequence so far; only dynamic and longrope depend on it
    pub(crate) fn frequencies(&self, head_dim: usize, length: usize) -> (Vec<f32>, f64) {
        let theta = self.rope_theta.unwrap_or(10_000.0);
        let factor = self.factor.unwrap_or(1.0);
        let original = self.original_max_position_embeddings.unwrap_or(2048) as f64;
        let dim = head_dim as f64;
        let exponent = |i: usize| (2 * i) as f64 / dim;
        let plain = |theta: f64| move |i: usize| libm::pow(theta, -exponent(i));
        let collect = |frequency: &dyn Fn(usize) -> f64| {
            (0..head_dim / 2).map(|i| frequency(i) as f32).collect()
        };
        let base = plain(theta);
        match self.kind() {
            RopeType::Default => (collect(&base), 1.0),
            RopeType::Linear => (collect(&|i| base(i) / factor), 1.0),
            RopeType::Dynamic => {
                let length = (length as f64).max(original);
                let growth = factor * length / original - (factor - 1.0);
                let base = plain(theta * libm::pow(growth, dim / (dim - 2.0)));
                (collect(&base), 1.0)
            }
            RopeType::Llama3 => {
                let low = self.low_freq_factor.unwrap_or(1.0);
                let high = self.high_freq_factor.unwrap_or(4.0);
                let scaled = |i: usize| {
                    let frequency = base(i);
                    let turns = original * frequency / TAU; // original length / wavelength
                    let keep = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    keep * frequency + (1.0 - keep) * frequency / factor
                };
                (collect(&scaled), 1.0)
            }
            RopeType::Yarn => {
                let keep = self.yarn_ramp(dim, theta, original);
                let scaled = |i: usize| base(i) * (keep(i) + (1.0 - keep(i)) / factor);
                (collect(&scaled), self.yarn_temperature(factor))
            }
            RopeType::Longrope => {
                let long = length as f64 > original;
                let set = if long {
                    &self.long_factor
                } else {
                    &self.short_factor
                };
                let divisor = |i: usize| set.as_ref().map_or(1.0, |set| set[i]);
                (
                    collect(&|i| base(i) / divisor(i)),
                    self.longrope_temperature(original),
                )
            }
        }
    }

    /// Share of each frequency that is kept: 1 for fast rotations, 0 for slow ones.
    fn yarn_ramp(&self, dim: f64, theta: f64, original: f64) -> impl Fn(usize) -> f64 + use<> {
        let dimension =
            |rotations: f64| dim * log(original / (rotations * TAU)) / (2.0 * log(theta));
        let mut low = dimension(self.beta_fast.unwrap_or(32.0));
        let mut high = dimension(self.beta_slow.unwrap_or(1.0));
        if self.truncate.unwrap_or(true) {
            (low, high) = (low.floor(), high.ceil());
        }
        let low = low.max(0.0);
        let mut high = high.min(dim - 1.0);
        if low == high {
            high += 0.001;
        }
        move |i| 1.0 - ((i as f64 - low) / (high - low)).clamp(0.0, 1.0)
    }

    fn yarn_temperature(&self, factor: f64) -> f64 {
        let temperature = |scale: f64| {
            if factor <= 1.0 {
                1.0
            } else {
                0.1 * scale * log(factor) + 1.0
            }
        };
        let nonzero = |value: Option<f64>| value.filter(|value| *value != 0.0);
        self.attention_factor.unwrap_or_else(|| {
            match (nonzero(self.mscale), nonzero(self.mscale_all_dim)) {
                (Some(scale), Some(all)) => temperature(scale) / temperature(all),
                _ => temperature(1.0),
            }
        })
    }

    fn longrope_temperature(&self, original: f64) -> f64 {
        let factor = self.factor.unwrap_or(1.0);
        self.attention_factor.unwrap_or_else(|| {
            if factor <= 1.0 {
                1.0
            } else {
                (1.0 + log(factor) / log(original)).sqrt()
            }
        })
    }
}

/// Cosines and sines of the positions in use, computed once on the host.
#[derive(Clone, Debug)]
pub(super) struct Rotary {
    parameters: RopeParameters,
    head_dim: usize,
    by_length: bool,
    table: Arc<Mutex<Option<Table>>>,
}

/// Rows for positions `0..rows`, on one device.
#[derive(Clone, Debug)]
struct Table {
    rows: usize,
    /// Sequence length that the frequencies are for; 0 unless they depend on it.
    length: usize,
    /// `[rows, head_dim]`
    cos: Tensor<2>,
    sin: Tensor<2>,
}

impl Rotary {
    /// - `by_length`: whether the frequencies depend on the longest sequence so far
    pub(super) fn new(parameters: RopeParameters, head_dim: usize, by_length: bool) -> Self {
        Self {
            parameters,
            head_dim,
            by_length,
            table: Arc::default(),
        }
    }

    /// # Shapes
    /// - `positions`: `[batch · seq]`, not negative
    /// - `embeds`: `[batch, seq, ..]`, what they are the positions of
    /// - returns cosines and sines, `[batch, seq, head_dim]`, constants without autodiff
    pub(super) fn at(&self, positions: &[i64], embeds: &Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let [batch, seq, _] = embeds.dims();
        let device = embeds.device().inner();
        let longest = positions.iter().copied().max().unwrap_or(0);
        let table = self.table(longest.max(0) as usize + 1, &device, embeds.dtype());
        let data = TensorData::new(positions.to_vec(), [batch * seq]);
        let positions = Tensor::<1, Int>::from_data(data, &device);
        let pick = |table: Tensor<2>| {
            table
                .select(0, positions.clone())
                .reshape([batch, seq, self.head_dim])
        };
        (pick(table.cos), pick(table.sin))
    }

    /// As [`Self::at`], of rows that know nothing of each other's lengths.
    pub(super) fn apart(&self, positions: &[i64], embeds: &Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        if !self.by_length {
            return self.at(positions, embeds);
        }
        let rows = positions.iter().enumerate();
        let rows =
            rows.map(|(row, position)| self.at(&[*position], &embeds.clone().narrow(0, row, 1)));
        let (cos, sin) = rows.unzip();
        (Tensor::cat(cos, 0), Tensor::cat(sin, 0))
    }

    fn table(&self, length: usize, device: &Device, dtype: DType) -> Table {
        let mut slot = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let key = if self.by_length { length } else { 0 };
        if let Some(table) = slot.as_ref()
            && table.rows >= length
            && table.length == key
            && table.cos.device() == *device
            && table.cos.dtype() == dtype
        {
            return table.clone();
        }
        let rows = length.next_power_of_two().max(64);
        let (frequencies, scale) = self.parameters.frequencies(self.head_dim, length);
        let values = |f: fn(f64) -> f64| {
            let mut values = Vec::with_capacity(rows * self.head_dim);
            for position in 0..rows {
                // The product is f32, as in the reference; what follows is f64.
                let half = frequencies
                    .iter()
                    .map(|w| (f(f64::from(position as f32 * w)) * scale) as f32);
                values.extend(half.clone());
                values.extend(half);
            }
            let values = TensorData::new(values, [rows, self.head_dim]);
            Tensor::<2>::from_data(values, (device, dtype))
        };
        let table = Table {
            rows,
            length: key,
            cos: values(libm::cos),
            sin: values(libm::sin),
        };
        *slot = Some(table.clone());
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llama::LlamaConfig;

    fn parameters(kind: RopeType) -> RopeParameters {
        RopeParameters {
            rope_type: Some(kind),
            rope_theta: Some(10_000.0),
            factor: Some(4.0),
            original_max_position_embeddings: Some(16),
            low_freq_factor: Some(1.0),
            high_freq_factor: Some(4.0),
            ..RopeParameters::default()
        }
    }

    #[test]
    fn default_and_linear_frequencies() {
        let (plain, scale) = parameters(RopeType::Default).frequencies(4, 1);
        assert_eq!((plain, scale), (vec![1.0, 0.01], 1.0));
        let (linear, _) = parameters(RopeType::Linear).frequencies(4, 1);
        assert_eq!(linear, [0.25, 0.0025]);
    }

    #[test]
    fn llama3_keeps_fast_and_divides_slow_rotations() {
        // 16 positions: frequency 1 makes 2.5 turns (between 1 and 4), 0.01 makes 0.03.
        let (frequencies, _) = parameters(RopeType::Llama3).frequencies(4, 1);
        let keep = (16.0 / TAU - 1.0) / 3.0;
        assert!((f64::from(frequencies[0]) - (keep + (1.0 - keep) / 4.0)).abs() < 1e-7);
        assert!((frequencies[1] - 0.0025).abs() < 1e-9);
    }

    #[test]
    fn dynamic_changes_beyond_the_original_length_only() {
        let rope = parameters(RopeType::Dynamic);
        let (short, _) = rope.frequencies(4, 16);
        assert_eq!(short, [1.0, 0.01]);
        let (long, _) = rope.frequencies(4, 32); // growth 4·2 − 3 = 5, exponent 2: base × 25
        assert!((long[1] - 0.002).abs() < 1e-8);
    }

    #[test]
    fn tables_rotate_by_position_times_frequency() {
        let config = LlamaConfig {
            hidden_size: 8,
            num_attention_heads: 2,
            ..LlamaConfig::default()
        };
        let by_length = config.rope_depends_on_length();
        let rotary = Rotary::new(config.rope(), config.head_width(), by_length);
        let device = Device::flex();
        let at = |positions: [[i64; 2]; 1]| {
            let (cos, sin) = rotary.at(&positions[0], &Tensor::zeros([1, 2, 8], &device));
            let values = |t: Tensor<3>| t.try_into_vec_as::<f32>().unwrap();
            (values(cos), values(sin))
        };
        let (cos, sin) = at([[0, 3]]);
        assert_eq!(cos[..4], [1.0; 4]);
        assert_eq!(sin[..4], [0.0; 4]);
        let expected = [3f32.cos(), 0.03f32.cos(), 3f32.cos(), 0.03f32.cos()];
        assert!(
            cos[4..]
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-6)
        );
        let (far, _) = at([[3, 100]]); // beyond the first table
        assert_eq!(far[..4], cos[4..]);
    }
}
