//! Which implementation the operations use: fused or reference.

use std::cell::Cell;
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

/// The mode of the calling thread.
///
/// `DEEM_KERNELS=reference` in the environment, read once per process, selects
/// [`Mode::Reference`]; everything else is [`Mode::Fast`]. [`with_mode`] overrides it.
pub fn mode() -> Mode {
    static FROM_ENV: OnceLock<Mode> = OnceLock::new();
    OVERRIDE.get().unwrap_or_else(|| {
        *FROM_ENV.get_or_init(|| match std::env::var("DEEM_KERNELS") {
            Ok(value) if value.eq_ignore_ascii_case("reference") => Mode::Reference,
            _ => Mode::Fast,
        })
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
