//! Which device to compute on.

use burn::tensor::Device;

use crate::EngineError;

/// The device of a name, as `cpu`.
///
/// # Errors
/// `Config` for a device that this build does not have.
pub fn device(name: &str) -> Result<Device, EngineError> {
    match name {
        "cpu" => Ok(Device::flex()),
        _ => Err(EngineError::Config(format!(
            "device: expected \"cpu\", the only one of this build, found {name:?}"
        ))),
    }
}
