//! Pieces of remote files on disk, in at most so many bytes: those not read for longest go first. Several processes may
//! share the folder.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

/// Bytes unless `DEEM_CACHE_GB` says otherwise.
const GIGABYTES: f64 = 20.0;
/// Share of the limit that is kept when the limit is reached.
const KEPT: f64 = 0.9;

/// The cache.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    limit: u64,
    /// Bytes believed to lie in the folder; others may add and remove.
    used: Mutex<u64>,
}

impl Cache {
    /// A cache of at most `limit` bytes.
    pub fn new(folder: PathBuf, limit: u64) -> Self {
        let used = Mutex::new(entries(&folder).iter().map(|entry| entry.size).sum());
        Self {
            folder,
            limit,
            used,
        }
    }

    /// The cache that the environment describes: `DEEM_CACHE`, or `deem/objects` in `XDG_CACHE_HOME` or `~/.cache`;
    /// `DEEM_CACHE_GB`.
    pub fn from_env() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let folder = variable("DEEM_CACHE").map(PathBuf::from).or_else(|| {
            let home = || std::env::home_dir().map(|home| home.join(".cache"));
            let caches = variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
            Some(caches?.join("deem/objects"))
        });
        let stated = variable("DEEM_CACHE_GB").and_then(|text| text.to_str()?.parse::<f64>().ok());
        let gigabytes = stated.unwrap_or(GIGABYTES);
        let folder = folder.unwrap_or_else(|| std::env::temp_dir().join("deem-objects"));
        Self::new(folder, (gigabytes.max(0.0) * 1e9) as u64)
    }

    /// The piece of a key, if it is there in full.
    pub fn get(&self, key: &str, length: u64) -> Option<Vec<u8>> {
        if !self.keeps(length) {
            return None;
        }
        let path = self.path(key);
        let bytes = fs::read(&path).ok()?;
        if bytes.len() as u64 != length {
            return None;
        }
        // When it was read last; a folder that cannot be written keeps its order.
        let _ = File::options()
            .append(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        Some(bytes)
    }

    /// Whether a piece of this length is kept at all.
    pub fn keeps(&self, length: u64) -> bool {
        length <= self.limit
    }

    /// Whether the piece of a key is there.
    pub fn has(&self, key: &str) -> bool {
        self.path(key).exists()
    }

    /// Keeps a piece; one that cannot be written is not kept, which is no failure.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        let length = bytes.len() as u64;
        if !self.keeps(length) {
            return;
        }
        if let Err(error) = self.write(&self.path(key), bytes) {
            tracing::debug!(%error, "a piece of a remote file is not kept");
            return;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used += length;
        if *used > self.limit {
            *used = self.shrink();
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(&self.folder)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let part = path.with_extension(format!("{}-{number}.part", std::process::id()));
        let mut file = File::create(&part)?;
        let written = file.write_all(bytes).and_then(|()| fs::rename(&part, path));
        if written.is_err() {
            let _ = fs::remove_file(&part);
        }
        written
    }

    /// Removes what was not read for longest; what is left, in bytes.
    fn shrink(&self) -> u64 {
        let mut entries = entries(&self.folder);
        entries.sort_by_key(|entry| entry.read);
        let mut left: u64 = entries.iter().map(|entry| entry.size).sum();
        let kept = (self.limit as f64 * KEPT) as u64;
        for entry in entries {
            if left <= kept {
                break;
            }
            if fs::remove_file(&entry.path).is_ok() {
                left -= entry.size;
            }
        }
        left
    }

    fn path(&self, key: &str) -> PathBuf {
        let digest = Sha256::digest(key.as_bytes());
        let name: String = digest[..16].iter().map(|b| format!("{b:02x}")).collect();
        self.folder.join(name)
    }
}

struct Entry {
    path: PathBuf,
    size: u64,
    read: SystemTime,
}

fn entries(folder: &Path) -> Vec<Entry> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    found
        .filter_map(|entry| {
            let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some(Entry {
                path: entry.path(),
                size: metadata.len(),
                read: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_not_read_for_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("new"), 1000);
        let age = |key: &str, seconds| {
            let file = File::options().append(true).open(cache.path(key)).unwrap();
            let then = SystemTime::now() - Duration::from_secs(seconds);
            file.set_modified(then).unwrap();
        };
        for (key, seconds) in [("a", 50), ("b", 40), ("c", 30)] {
            cache.put(key, &[key.as_bytes()[0]; 300]);
            age(key, seconds);
        }
        assert_eq!(cache.get("a", 300), Some(vec![b'a'; 300])); // read now
        cache.put("d", &[b'd'; 300]);
        assert!(!cache.has("b") && cache.has("a") && cache.has("c") && cache.has("d"));
        assert_eq!(cache.get("d", 299), None, "a piece of another length");
        cache.put("huge", &[0; 1001]);
        assert!(!cache.has("huge"));
        let again = Cache::new(folder.path().join("new"), 1000);
        assert_eq!(*again.used.lock().unwrap(), 900);
    }

    #[test]
    fn a_folder_that_cannot_be_written_keeps_nothing_and_fails_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cache = Cache::new(file.path().join("below"), 1000);
        cache.put("a", b"abc");
        assert_eq!(cache.get("a", 3), None);
    }
}
