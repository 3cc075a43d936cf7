//! Which device to compute on.

#[cfg(feature = "cuda")]
mod cuda;

use burn::tensor::Device;

use crate::EngineError;

/// The device of a name: `cpu`, or `cuda:N` for the NVIDIA GPU of number N; `cuda` is `cuda:0`.
///
/// A GPU needs a build with the feature `cuda`.
///
/// # Errors
/// `Config` for another name, for a GPU in a build without the feature, and for a GPU that cannot be
/// used, with all that it lacks.
pub fn device(name: &str) -> Result<Device, EngineError> {
    if name == "cpu" {
        return Ok(Device::flex());
    }
    let Some(number) = gpu(name) else {
        return Err(EngineError::Config(format!(
            "device: expected \"cpu\", \"cuda\" or \"cuda:N\", N being the number of a GPU from 0, found {name:?}"
        )));
    };
    cuda(number).map_err(|why| {
        EngineError::Config(format!("device \"cuda:{number}\": {why}; or use \"cpu\""))
    })
}

/// Number of the GPU that a name means.
fn gpu(name: &str) -> Option<usize> {
    match name.strip_prefix("cuda")? {
        "" => Some(0),
        number => number.strip_prefix(':')?.parse().ok(),
    }
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<Device, String> {
    cuda::Machine::look().refuse(number)?;
    Ok(Device::cuda(number))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<Device, String> {
    Err(
        "looked for the feature `cuda`, and this program was built without it: build one with \
         `cargo build --release --workspace --features cuda` (docs/gpu.md)"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_devices() {
        assert_eq!(device("cpu").unwrap(), Device::flex());
        assert_eq!(gpu("cuda"), Some(0));
        assert_eq!(gpu("cuda:3"), Some(3));
        for name in [
            "", "gpu", "cuda:", "cuda:-1", "cuda:x", "cuda0", "Cuda", "cpu:0",
        ] {
            let error = device(name).unwrap_err().to_string();
            assert!(error.contains(&format!("found {name:?}")), "{error}");
        }
    }

    /// Burn itself panics here.
    #[test]
    fn a_gpu_that_cannot_be_there_is_an_error() {
        let error = device("cuda:65535").unwrap_err().to_string();
        assert!(error.contains("\"cuda:65535\": looked for"), "{error}");
        let without = error.contains("--features cuda");
        assert_eq!(without, cfg!(not(feature = "cuda")), "{error}");
    }
}
