//! Who started this process, and with how many others.

use std::sync::Arc;
use std::time::Duration;

use crate::{Alone, Collective, CollectiveError};

/// Variables in which launchers say how many processes they started together: Open MPI, MPICH and Intel MPI, and
/// SLURM's `srun`.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// Whether this program can join processes of a launcher (feature `mpi`).
pub const CAN_JOIN: bool = cfg!(feature = "mpi");

/// What a launcher said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Number of processes.
    pub size: usize,
    /// The variable that says so.
    pub variable: &'static str,
}

impl Launch {
    /// What the launcher of this process said; `None` if it was started by itself.
    pub fn of_environment() -> Option<Self> {
        Self::of(|variable| std::env::var(variable).ok())
    }

    fn of(read: impl Fn(&str) -> Option<String>) -> Option<Self> {
        SIZES.into_iter().find_map(|variable| {
            let size = read(variable)?.trim().parse().ok()?;
            Some(Self { size, variable })
        })
    }
}

/// Joins the processes that were started with this one. An exchange that takes longer than `limit` ends all of them.
///
/// # Errors
/// `NotBuiltIn` if there are others and this program cannot join them, `Library` if they cannot be joined.
pub fn join(limit: Duration) -> Result<Arc<dyn Collective>, CollectiveError> {
    let Some(launch) = Launch::of_environment().filter(|launch| launch.size > 1) else {
        return Ok(Arc::new(Alone));
    };
    #[cfg(feature = "mpi")]
    {
        let _ = launch;
        Ok(Arc::new(crate::mpi::Mpi::join(limit)?))
    }
    #[cfg(not(feature = "mpi"))]
    {
        let _ = limit;
        Err(CollectiveError::NotBuiltIn {
            size: launch.size,
            variable: launch.variable,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_say_how_many_they_started() {
        let of = |variable: &'static str, value: &str| {
            Launch::of(|asked| (asked == variable).then(|| value.to_owned()))
        };
        for variable in SIZES {
            assert_eq!(of(variable, "4"), Some(Launch { size: 4, variable }));
        }
        assert_eq!(of("PMI_SIZE", "many"), None);
        assert_eq!(of("OTHER", "4"), None);
    }
}
