//! The text decoder (spec: text decoder): the language model's own head, padded to the extended
//! vocabulary, plus a trainable head on the appended tokens.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::nn::{Linear, param};

/// What the frozen head's padding contributes to appended tokens.
const PADDING_BIAS: f64 = -100.0;
/// With what the trainable head starts: appended tokens begin at a logit of −5.
const NEW_BIAS: f32 = 95.0;

/// The trainable head on the appended tokens.
#[derive(Module, Debug)]
pub struct TextDecoder {
    /// `hidden_size` → appended tokens; weight 0 and bias 95 at first.
    pub head_new: Linear,
}

impl TextDecoder {
    /// A head for `new_tokens` tokens after the language model's own.
    pub fn new(hidden_size: usize, new_tokens: usize, device: &Device) -> Self {
        Self {
            head_new: Linear::of(
                param([new_tokens, hidden_size], 0.0, device),
                Some(param([new_tokens], NEW_BIAS, device)),
            ),
        }
    }

    /// Logits over the extended vocabulary, at the positions that are asked for.
    ///
    /// # Shapes
    /// - `base`: `[positions, vocab_size]`, from [`super::Llama::lm_head`]
    /// - `hidden`: `[positions, hidden_size]`
    /// - returns `[positions, vocab_size + new_tokens]`
    pub fn forward(&self, base: Tensor<2>, hidden: Tensor<2>) -> Tensor<2> {
        if self.head_new.weight.lazy_shape()[0] == 0 {
            return base;
        }
        let new = self.head_new.forward(hidden) + PADDING_BIAS;
        Tensor::cat(vec![base, new], 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appended_tokens_start_at_minus_five() {
        let device = Device::flex();
        let decoder = TextDecoder::new(3, 2, &device);
        let base = Tensor::<2>::from_floats([[1.0, 2.0]], &device);
        let hidden = Tensor::<2>::from_floats([[7.0, 8.0, 9.0]], &device);
        let logits = decoder.forward(base.clone(), hidden.clone());
        let logits: Vec<f32> = logits.try_into_vec_as::<f32>().unwrap();
        assert_eq!(logits, [1.0, 2.0, -5.0, -5.0]);
        let none = TextDecoder::new(3, 0, &device).forward(base, hidden);
        assert_eq!(none.dims(), [1, 2]);
    }
}
