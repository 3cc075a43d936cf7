//! One process at a time in a folder.
//!
//! The operating system holds the lock for as long as the process lives, so a killed one leaves nothing behind that
//! blocks; the file itself stays, because removing it would race with whoever opens it next.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Seek, Write};
use std::path::Path;

use crate::EngineError;
use crate::evaluate::Shard;

/// Name of the file that is locked.
const FILE: &str = "lock";

/// The right to write into a folder, until dropped.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
    /// Of a share: that nobody has the whole.
    _whole: Option<Box<RunLock>>,
}

/// Whether others may hold a lock, too.
#[derive(Clone, Copy)]
enum Kind {
    Alone,
    Shared,
}

impl RunLock {
    /// Takes the lock of a folder, which is made if it is not there.
    ///
    /// Where the file system knows no locks (some network shares), it is granted with a warning.
    ///
    /// # Errors
    /// `Locked` naming the folder and, where it can be read, the process that has it; `Io` naming the file.
    pub fn acquire(folder: &Path) -> Result<Self, EngineError> {
        Self::take(folder, FILE, Kind::Alone)
    }

    /// Takes the lock of a share of a folder's work: others may hold other shares meanwhile, but nobody the whole.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub fn of_shard(folder: &Path, shard: Shard) -> Result<Self, EngineError> {
        if shard.is_whole() {
            return Self::acquire(folder);
        }
        let own = Self::take(folder, &format!("{FILE}{}", shard.suffix()), Kind::Alone)?;
        let whole = Self::take(folder, FILE, Kind::Shared)?;
        Ok(Self {
            _whole: Some(Box::new(whole)),
            ..own
        })
    }

    fn take(folder: &Path, name: &str, kind: Kind) -> Result<Self, EngineError> {
        fs::create_dir_all(folder).map_err(EngineError::io(folder))?;
        let path = folder.join(name);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(EngineError::io(&path))?;
        let locked = match kind {
            Kind::Alone => file.try_lock(),
            Kind::Shared => file.try_lock_shared(),
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(EngineError::Locked {
                    path: folder.into(),
                    holder: holder(&path),
                });
            }
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                tracing::warn!(
                    "{}: this file system has no locks; start no second process here",
                    folder.display()
                );
            }
            Err(TryLockError::Error(error)) => return Err(EngineError::io(&path)(error)),
        }
        // For whoever is refused; the lock holds without it.
        let noted = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()));
        if let Err(error) = noted {
            tracing::debug!(%error, "the process could not be noted in {}", path.display());
        }
        Ok(Self {
            _file: file,
            _whole: None,
        })
    }
}

/// The process that has the lock. Its number is written after the lock is taken, so it may be missing.
fn holder(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;

    /// Names the folder to the process that [`a_killed_process_blocks_nobody`] starts.
    const FOLDER: &str = "DEEM_TEST_LOCKED_FOLDER";

    #[test]
    fn the_second_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let first = RunLock::acquire(folder.path()).unwrap();
        let message = RunLock::acquire(folder.path()).unwrap_err().to_string();
        assert!(
            message.contains(&folder.path().display().to_string()),
            "{message}"
        );
        let process = format!("process {}", std::process::id());
        assert!(message.contains(&process), "{message}");
        drop(first);
        RunLock::acquire(folder.path()).unwrap();
    }

    #[test]
    fn a_killed_process_blocks_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lock::tests::holds_until_killed"])
            .env(FOLDER, folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        // The file is the child's to make: taking the lock here first would refuse the child.
        let noted = || holder(&folder.path().join(FILE)) == Some(child.id());
        while !noted() && started.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let refused = RunLock::acquire(folder.path());
        child.kill().unwrap();
        child.wait().unwrap();
        let holder = match refused {
            Err(EngineError::Locked { holder, .. }) => holder,
            other => panic!("{other:?}"),
        };
        assert_eq!(holder, Some(child.id()));
        RunLock::acquire(folder.path()).unwrap();
    }

    /// Not a test of its own: the process of the one above.
    #[test]
    fn holds_until_killed() {
        let Some(folder) = std::env::var_os(FOLDER) else {
            return;
        };
        let _lock = RunLock::acquire(Path::new(&folder)).unwrap();
        std::thread::sleep(Duration::from_secs(120));
    }
}
