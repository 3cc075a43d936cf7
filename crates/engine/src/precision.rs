//! In which float type a model computes: the one place that decides.
//!
//! | | activations | frozen matrices | trained weights, their gradients and moments |
//! |---|---|---|---|
//! | `f32` | 32 bits | as loaded (published ones in 16 bits stay so) | 32 bits |
//! | `bf16` | bf16 | bf16 | 32 bits, read in bf16 |
//!
//! In `bf16` too, norms, probabilities, sampling coordinates, latents, noise and losses are computed in 32 bits.
//! Layers follow their input ([`deem_kernels::precision`]), and the composition decides what enters them
//! ([`Deem::computing_in`]).

use std::fmt;
use std::str::FromStr;

use burn::tensor::{Device, FloatDType};
use deem_model::deem::Deem;
use deem_model::weights::narrow;
use serde::{Deserialize, Serialize};

use crate::EngineError;

/// The float type that a model computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits with the range of 32 (bfloat16).
    Bf16,
}

impl Precision {
    /// What a device is made for: bf16 where it computes in it, but for the CPU, whose kernels are for 32 bits.
    pub fn of(device: &Device) -> Self {
        let fits = *device != Device::flex() && device.supports_dtype(FloatDType::BF16);
        if fits { Self::Bf16 } else { Self::F32 }
    }

    /// Checks that a device can compute in it.
    ///
    /// # Errors
    /// `Config` if it cannot.
    pub fn on(self, device: &Device) -> Result<Self, EngineError> {
        if self == Self::Bf16 && !device.supports_dtype(FloatDType::BF16) {
            return Err(EngineError::Config(
                "precision: looked for arithmetic in bf16, and this device has none: use \"f32\""
                    .into(),
            ));
        }
        Ok(self)
    }

    /// Burn's name of it.
    pub fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
        }
    }

    /// Has a model compute in it, and keep in it what is frozen: to be called once it is known what is trained.
    #[must_use]
    pub fn apply(self, model: Deem) -> Deem {
        let model = match self {
            Self::F32 => model,
            Self::Bf16 => narrow(model, self.dtype()),
        };
        model.computing_in(self.dtype())
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = EngineError;

    fn from_str(name: &str) -> Result<Self, EngineError> {
        match name {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(EngineError::Config(format!(
                "precision: expected \"f32\" or \"bf16\", found {name:?}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for precision in [Precision::F32, Precision::Bf16] {
            assert_eq!(
                precision.to_string().parse::<Precision>().unwrap(),
                precision
            );
        }
        let error = "fp16".parse::<Precision>().unwrap_err().to_string();
        assert!(error.contains("found \"fp16\""), "{error}");
    }

    #[test]
    fn the_processor_computes_in_32_bits_unless_told_otherwise() {
        let cpu = Device::flex();
        assert_eq!(Precision::of(&cpu), Precision::F32);
        assert_eq!(Precision::Bf16.on(&cpu).unwrap(), Precision::Bf16);
    }
}
