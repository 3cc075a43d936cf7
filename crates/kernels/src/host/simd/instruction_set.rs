//! Which instruction set kernels use.

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// Instruction sets of the fused CPU kernels, by rising width of their registers.
///
/// Results do not depend on the choice, to the last bit: all compute on sixteen lanes, in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstructionSet {
    /// Plain Rust, for any processor.
    Portable,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 (F).
    Avx512,
}

/// Why an instruction set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstructionSetError {
    /// There is none of that name.
    Unknown(String),
    /// This processor does not have it.
    Unavailable(InstructionSet),
}

impl fmt::Display for InstructionSetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "no instruction set is called {name:?}")?,
            Self::Unavailable(set) => write!(f, "this processor does not have {set}")?,
        }
        let choices: Vec<_> = InstructionSet::available()
            .map(|set| set.to_string())
            .collect();
        write!(f, "; choose one of {}", choices.join(", "))
    }
}

impl std::error::Error for InstructionSetError {}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        })
    }
}

impl FromStr for InstructionSet {
    type Err = InstructionSetError;

    /// From its name in lower case: `portable`, `avx2`, `avx512`.
    ///
    /// # Errors
    /// [`InstructionSetError::Unknown`] for any other name.
    fn from_str(name: &str) -> Result<Self, InstructionSetError> {
        let found = Self::ALL.into_iter().find(|set| set.to_string() == name);
        found.ok_or_else(|| InstructionSetError::Unknown(name.into()))
    }
}

thread_local! {
    static OVERRIDE: Cell<Option<InstructionSet>> = const { Cell::new(None) };
}

impl InstructionSet {
    const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// Those that this processor has.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|set| set.is_available())
    }

    pub(crate) fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            use std::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma") && has!("f16c");
            match self {
                Self::Portable => true,
                Self::Avx2 => avx2,
                Self::Avx512 => avx2 && has!("avx512f"),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Portable
        }
    }

    /// What `DEEM_SIMD` in the environment asks for; if it is not set (or empty), the widest of this processor.
    ///
    /// # Errors
    /// If the variable holds no name of an instruction set, or that of one which this processor does not have.
    pub fn from_env() -> Result<Self, InstructionSetError> {
        let name = match std::env::var_os("DEEM_SIMD") {
            Some(name) if !name.is_empty() => name.to_string_lossy().into_owned(),
            _ => return Ok(Self::available().last().expect("portable")),
        };
        let set: Self = name.parse()?;
        if set.is_available() {
            Ok(set)
        } else {
            Err(InstructionSetError::Unavailable(set))
        }
    }

    /// The instruction set of kernels that this thread calls: that of [`with_instruction_set`], or of
    /// [`InstructionSet::from_env`], read once per process.
    ///
    /// # Panics
    /// With the error of [`InstructionSet::from_env`]; programs call that first.
    #[inline]
    pub fn current() -> Self {
        static FROM_ENV: OnceLock<InstructionSet> = OnceLock::new();
        OVERRIDE.get().unwrap_or_else(|| {
            *FROM_ENV.get_or_init(|| {
                Self::from_env().unwrap_or_else(|error| panic!("DEEM_SIMD: {error}"))
            })
        })
    }
}

/// Runs `body` with kernels of another instruction set on this thread, and on those that help it.
///
/// # Errors
/// [`InstructionSetError::Unavailable`] if this processor does not have it.
pub fn with_instruction_set<T>(
    set: InstructionSet,
    body: impl FnOnce() -> T,
) -> Result<T, InstructionSetError> {
    if !set.is_available() {
        return Err(InstructionSetError::Unavailable(set));
    }
    Ok(inherit(set, body))
}

/// [`with_instruction_set`] for an instruction set that another thread uses.
pub(crate) fn inherit<T>(set: InstructionSet, body: impl FnOnce() -> T) -> T {
    struct Restore(Option<InstructionSet>);
    impl Drop for Restore {
        fn drop(&mut self) {
            OVERRIDE.set(self.0);
        }
    }
    let _restore = Restore(OVERRIDE.replace(Some(set)));
    body()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for set in InstructionSet::ALL {
            assert_eq!(set.to_string().parse(), Ok(set));
        }
        let error = "sse9".parse::<InstructionSet>().unwrap_err().to_string();
        assert!(
            error.contains("\"sse9\"") && error.contains("portable"),
            "{error}"
        );
    }

    #[test]
    fn override_nests_and_is_restored() {
        let outer = InstructionSet::current();
        for set in InstructionSet::available() {
            let inner = with_instruction_set(set, || {
                assert_eq!(InstructionSet::current(), set);
                with_instruction_set(InstructionSet::Portable, InstructionSet::current)
            });
            assert_eq!(inner, Ok(Ok(InstructionSet::Portable)));
        }
        assert_eq!(InstructionSet::current(), outer);
    }
}
