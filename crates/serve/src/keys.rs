//! Keys of clients: a file, one a line, plain or as `sha256:HEX`; `#` begins a comment. Only hashes are held, and they
//! are compared in constant time. A file that changed is read again.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::ServeError;

/// How often the file is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Hash = [u8; 32];

/// The keys that are accepted.
#[derive(Debug)]
pub(crate) struct Keys {
    path: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    hashes: Vec<Hash>,
    /// Time and length of the file that they were read from.
    version: Option<(SystemTime, u64)>,
    looked: Instant,
}

impl Keys {
    /// Reads a file.
    ///
    /// # Errors
    /// `Keys` if it cannot be read, has a line that is no key, or no key at all.
    pub fn read(path: &Path) -> Result<Self, ServeError> {
        let held = Held {
            version: version(path),
            hashes: hashes(path)?,
            looked: Instant::now(),
        };
        Ok(Self {
            path: path.to_owned(),
            held: Mutex::new(held),
        })
    }

    /// The name in logs of a key that is accepted: the first eight digits of its hash.
    pub fn accept(&self, key: &str) -> Option<String> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.looked.elapsed() >= LOOK_EVERY {
            self.look(&mut held);
        }
        let hash: Hash = Sha256::digest(key.as_bytes()).into();
        let mut known = Choice::from(0);
        for accepted in &held.hashes {
            known = Choice::conditional_select(&known, &Choice::from(1), hash.ct_eq(accepted));
        }
        bool::from(known).then(|| hex(&hash[..4]))
    }

    /// Reads the file again if it changed. One that became unreadable leaves the keys as they were.
    fn look(&self, held: &mut Held) {
        held.looked = Instant::now();
        let now = version(&self.path);
        if now == held.version {
            return;
        }
        held.version = now;
        match hashes(&self.path) {
            Ok(hashes) => {
                tracing::info!(keys = hashes.len(), "keys read again");
                held.hashes = hashes;
            }
            Err(error) => tracing::warn!(%error, "the keys stay as they were"),
        }
    }
}

fn version(path: &Path) -> Option<(SystemTime, u64)> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.modified().ok()?, data.len()))
}

fn hashes(path: &Path) -> Result<Vec<Hash>, ServeError> {
    let wrong = |problem: String| ServeError::Keys {
        path: path.to_owned(),
        problem,
    };
    let text = std::fs::read_to_string(path).map_err(|cause| wrong(cause.to_string()))?;
    let mut hashes = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let hash = match line.strip_prefix("sha256:") {
            Some(digits) => unhex(digits).ok_or_else(|| {
                wrong(format!(
                    "line {}: expected 64 hexadecimal digits after `sha256:`",
                    number + 1
                ))
            })?,
            None => Sha256::digest(line.as_bytes()).into(),
        };
        hashes.push(hash);
    }
    if hashes.is_empty() {
        return Err(wrong(
            "no key in it; expected one a line, plain or as `sha256:HEX`".into(),
        ));
    }
    Ok(hashes)
}

fn unhex(digits: &str) -> Option<Hash> {
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `abc` (FIPS 180-2, appendix B.1).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn plain_and_hashed_keys() {
        let file = file(&format!("# mine\n\n plain \nsha256:{ABC}\n"));
        let keys = Keys::read(file.path()).unwrap();
        assert_eq!(keys.accept("abc").unwrap(), "ba7816bf");
        assert!(keys.accept("plain").is_some());
        for wrong in ["", "ab", "# mine", ABC] {
            assert!(keys.accept(wrong).is_none(), "{wrong}");
        }
        assert!(!format!("{keys:?}").contains("plain"));
    }

    #[test]
    fn files_without_keys_are_refused() {
        for (text, part) in [("# none\n", "no key"), ("a\nsha256:12\n", "line 2")] {
            let error = Keys::read(file(text).path()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(Keys::read(Path::new("not-there")).is_err());
    }

    #[test]
    fn a_file_that_changed_is_read_again() {
        let file = file("old\n");
        let keys = Keys::read(file.path()).unwrap();
        let long_ago = || {
            let mut held = keys.held.lock().unwrap();
            held.looked = Instant::now().checked_sub(LOOK_EVERY).unwrap();
        };
        std::fs::write(file.path(), "newer\n").unwrap();
        long_ago();
        assert!(keys.accept("newer").is_some());
        assert!(keys.accept("old").is_none());
        std::fs::write(file.path(), "").unwrap();
        long_ago();
        assert!(
            keys.accept("newer").is_some(),
            "an empty file locks nobody out"
        );
    }
}
