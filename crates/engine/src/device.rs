//! Which device to compute on.

#[cfg(feature = "cuda")]
mod cuda;

use burn::tensor::Device;

use crate::{EngineError, Precision};

/// Where a model computes, and in which float type.
#[derive(Clone, Debug)]
pub struct Compute {
    /// Without gradient tracking.
    pub device: Device,
    /// Of activations.
    pub precision: Precision,
}

impl Compute {
    /// The CPU in 32 bits.
    pub fn cpu() -> Self {
        Self {
            device: Device::flex(),
            precision: Precision::F32,
        }
    }

    /// A device by its [name](device), in a given precision, or in the one that it is made for.
    ///
    /// # Errors
    /// Those of [`device`] and [`Precision::on`].
    pub fn named(name: &str, precision: Option<Precision>) -> Result<Self, EngineError> {
        let device = device(name)?;
        let precision = precision.unwrap_or_else(|| Precision::of(&device));
        Ok(Self {
            precision: precision.on(&device)?,
            device,
        })
    }
}

/// The device of a name: `cpu`; `cuda:N` for the NVIDIA GPU of number N; `wgpu:N` for the Nth GPU of any make
/// that Vulkan, Metal or DirectX 12 lists. Without a number it is the first.
///
/// A GPU needs a build with the feature `cuda` or `wgpu`.
///
/// # Errors
/// `Config` for another name, for a GPU in a build without the feature, and for a GPU that cannot be
/// used, with all that it lacks.
pub fn device(name: &str) -> Result<Device, EngineError> {
    if name == "cpu" {
        return Ok(Device::flex());
    }
    let Some((kind, number)) = gpu(name) else {
        return Err(EngineError::Config(format!(
            "device: expected \"cpu\", \"cuda:N\" or \"wgpu:N\", N being the number of a GPU from 0, found {name:?}"
        )));
    };
    let found = match kind {
        "cuda" => cuda(number),
        _ => wgpu(number),
    };
    found.map_err(|why| {
        EngineError::Config(format!("device \"{kind}:{number}\": {why}; or use \"cpu\""))
    })
}

/// The number of the NVIDIA GPU that a device's name means, if it means one.
pub fn card(name: &str) -> Option<usize> {
    let (kind, number) = gpu(name)?;
    (kind == "cuda").then_some(number)
}

/// Kind and number of the GPU that a name means.
fn gpu(name: &str) -> Option<(&str, usize)> {
    let (kind, number) = name.split_once(':').unwrap_or((name, "0"));
    ["cuda", "wgpu"].contains(&kind).then_some(())?;
    Some((kind, number.parse().ok()?))
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<Device, String> {
    cuda::Machine::look().refuse(number)?;
    Ok(Device::cuda(number))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<Device, String> {
    Err(without("cuda"))
}

#[cfg(feature = "wgpu")]
fn wgpu(number: usize) -> Result<Device, String> {
    let found = Device::enumerate(burn::tensor::DeviceType::Wgpu).into_vec();
    let count = found.len();
    found.into_iter().nth(number).ok_or_else(|| match count {
        0 => "looked for GPUs by Vulkan, Metal and DirectX 12, found none: install the driver of one \
              (`vulkaninfo --summary` should list it)"
            .to_owned(),
        _ => format!(
            "looked for GPU {number}, found {count}: choose a number from 0 to {}",
            count - 1
        ),
    })
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(_: usize) -> Result<Device, String> {
    Err(without("wgpu"))
}

#[cfg(not(all(feature = "cuda", feature = "wgpu")))]
fn without(feature: &str) -> String {
    format!(
        "looked for the feature `{feature}`, and this program was built without it: build one with \
         `cargo build --release --workspace --features {feature}` (docs/gpu.md)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_devices() {
        assert_eq!(device("cpu").unwrap(), Device::flex());
        assert_eq!(gpu("cuda"), Some(("cuda", 0)));
        assert_eq!(gpu("wgpu:3"), Some(("wgpu", 3)));
        assert_eq!(["cuda:2", "wgpu:2", "cpu"].map(card), [Some(2), None, None]);
        for name in [
            "", "gpu", "cuda:", "cuda:-1", "cuda:x", "cuda0", "Cuda", "cpu:0", "vulkan",
        ] {
            let error = device(name).unwrap_err().to_string();
            assert!(error.contains(&format!("found {name:?}")), "{error}");
        }
    }

    /// Burn itself panics here.
    #[test]
    fn a_gpu_that_cannot_be_there_is_an_error() {
        let features = [
            ("cuda", cfg!(feature = "cuda")),
            ("wgpu", cfg!(feature = "wgpu")),
        ];
        for (kind, built) in features {
            let error = device(&format!("{kind}:65535")).unwrap_err().to_string();
            let start = format!("\"{kind}:65535\": looked for");
            assert!(error.contains(&start), "{error}");
            let without = error.contains(&format!("--features {kind}"));
            assert_eq!(without, !built, "{error}");
        }
    }
}
