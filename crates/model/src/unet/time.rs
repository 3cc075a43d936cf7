//! How the timestep enters: sines and cosines, then a small MLP (diffusers `Timesteps` and
//! `TimestepEmbedding`).

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::Activation;
use super::config::UNetConfig;
use crate::nn::Linear;

/// Two linear layers on the encoded timestep.
#[derive(Module, Debug)]
pub struct TimestepEmbedding {
    /// Encoding → embedding.
    pub linear_1: Linear,
    /// Embedding → embedding.
    pub linear_2: Linear,
    /// Present in checkpoints made for a second condition, which DEEM does not give.
    pub cond_proj: Option<Linear>,
    #[module(skip)]
    act: Activation,
    #[module(skip)]
    post_act: Option<Activation>,
}

impl TimestepEmbedding {
    pub(super) fn new(config: &UNetConfig, device: &Device) -> Self {
        let inputs = config.block_out_channels[0];
        let outputs = config.time_dim();
        let condition = config.time_cond_proj_dim;
        Self {
            linear_1: Linear::new(inputs, outputs, true, device),
            linear_2: Linear::new(outputs, outputs, true, device),
            cond_proj: condition.map(|dim| Linear::new(dim, inputs, false, device)),
            act: config.act_fn,
            post_act: config.timestep_post_act,
        }
    }

    /// # Shapes
    /// - `encoding`: `[batch, block_out_channels[0]]`
    /// - returns `[batch, time_dim]`
    pub fn forward(&self, encoding: Tensor<2>) -> Tensor<2> {
        let hidden = self.act.forward(self.linear_1.forward(encoding));
        let hidden = self.linear_2.forward(hidden);
        match self.post_act {
            Some(act) => act.forward(hidden),
            None => hidden,
        }
    }
}

/// Sines and cosines of a timestep, at frequencies from 1 down to 1/10000.
///
/// - `flip`: cosines first
/// - `shift`: subtracted from the number of frequencies that the range is divided by
/// - returns `[timesteps, dim]`
pub(super) fn encode_timesteps(
    timesteps: &[usize],
    dim: usize,
    flip: bool,
    shift: f64,
    device: &Device,
    dtype: DType,
) -> Tensor<2> {
    let half = dim / 2;
    let frequencies: Vec<f32> = (0..half)
        .map(|i| libm::exp(-libm::log(10_000.0) * i as f64 / (half as f64 - shift)) as f32)
        .collect();
    let mut values = vec![0f32; timesteps.len() * dim]; // an odd last channel stays 0
    for (row, timestep) in values.chunks_exact_mut(dim.max(1)).zip(timesteps) {
        for (i, frequency) in frequencies.iter().enumerate() {
            let angle = f64::from(*timestep as f32 * frequency); // f32 product, as in the reference
            let (sin, cos) = libm::sincos(angle);
            let (first, second) = if flip { (cos, sin) } else { (sin, cos) };
            row[i] = first as f32;
            row[half + i] = second as f32;
        }
    }
    Tensor::from_data(
        TensorData::new(values, [timesteps.len(), dim]),
        (device, dtype),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        let device = Device::flex();
        let encode = |flip, shift, dim| {
            encode_timesteps(&[3], dim, flip, shift, &device, DType::F32)
                .try_into_vec_as::<f32>()
                .unwrap()
        };
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        let (s, c) = (3f32.sin(), 3f32.cos());
        assert!(close(
            &encode(true, 0.0, 4),
            &[c, 0.03f32.cos(), s, 0.03f32.sin()]
        ));
        assert!(close(
            &encode(false, 1.0, 5),
            &[s, 3e-4f32.sin(), c, 3e-4f32.cos(), 0.0]
        ));
    }
}
