//! Which implementation the operations use: fused or reference.

use std::cell::Cell;
use std::fmt;
use std::sync::OnceLock;

/// Which implementation of the operations is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Fused kernels where they exist for the device and data type.
    Fast,
    /// Plain differentiable Burn operations everywhere.
    Reference,
}

thread_local! {
    static OVERRIDE: Cell<Option<Mode>> = const { Cell::new(None) };
}

/// `DEEM_KERNELS` names no mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownMode(pub String);

impl fmt::Display for UnknownMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "DEEM_KERNELS: expected fast or reference, found {:?}",
            self.0
        )
    }
}

impl std::error::Error for UnknownMode {}

impl Mode {
    /// What `DEEM_KERNELS` in the environment asks for; fast, if it is not set (or empty).
    ///
    /// # Errors
    /// If it holds another name than `fast` or `reference`.
    pub fn from_env() -> Result<Self, UnknownMode> {
        let name = std::env::var_os("DEEM_KERNELS").unwrap_or_default();
        match name.to_string_lossy().to_ascii_lowercase().as_str() {
            "" | "fast" => Ok(Self::Fast),
            "reference" => Ok(Self::Reference),
            _ => Err(UnknownMode(name.to_string_lossy().into_owned())),
        }
    }
}

/// The mode of the calling thread: that of [`with_mode`], or of [`Mode::from_env`], read once per process.
///
/// # Panics
/// With the error of [`Mode::from_env`]; programs call that first.
pub fn mode() -> Mode {
    static FROM_ENV: OnceLock<Mode> = OnceLock::new();
    OVERRIDE.get().unwrap_or_else(|| {
        *FROM_ENV.get_or_init(|| Mode::from_env().unwrap_or_else(|error| panic!("{error}")))
    })
}

/// Runs `body` with the given mode on this thread, then restores the previous one.
///
/// The mode matters when an operation is called, not when its gradient is computed.
pub fn with_mode<T>(mode: Mode, body: impl FnOnce() -> T) -> T {
    struct Restore(Option<Mode>);
    impl Drop for Restore {
        fn drop(&mut self) {
            OVERRIDE.set(self.0);
        }
    }
    let _restore = Restore(OVERRIDE.replace(Some(mode)));
    body()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn override_nests_and_is_restored() {
        let outer = mode();
        with_mode(Mode::Reference, || {
            assert_eq!(mode(), Mode::Reference);
            with_mode(Mode::Fast, || assert_eq!(mode(), Mode::Fast));
            assert_eq!(mode(), Mode::Reference);
        });
        assert_eq!(mode(), outer);
    }
}
