//! Which program this is, as `build.rs` found it.

/// Commit that the program was built from; `+` if its sources were changed after it, `unknown` if it was built
/// outside of the repository.
pub const COMMIT: &str = env!("DEEM_COMMIT");

/// Version and commit.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("DEEM_COMMIT"), ")");
