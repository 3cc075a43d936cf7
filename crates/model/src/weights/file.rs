use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use super::WeightsError;

/// SHA-256 in lower-case hexadecimal.
pub type Checksum = String;

/// A memory-mapped safetensors file, validated on opening.
#[derive(Debug)]
pub struct WeightsFile {
    path: PathBuf,
    map: Mmap,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    start: usize,
    end: usize,
}

impl WeightsFile {
    /// Opens and validates a file without reading its tensors.
    ///
    /// # Errors
    /// `Io` if it cannot be opened, `Format` naming the rule that the file breaks.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let io = |source| WeightsError::Io {
            path: path.into(),
            source,
        };
        let format = |rule: String| WeightsError::Format {
            path: path.into(),
            rule,
        };
        let file = File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.len() < 8 {
            return Err(format("shorter than its 8-byte header length".into()));
        }
        // Safety: weights are read-only while in use; checkpoints are replaced by rename, which
        // leaves an existing mapping on the old file.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let tensors = SafeTensors::deserialize(&map).map_err(|e| format(e.to_string()))?;
        let base = map.as_ptr() as usize;
        let entries = tensors
            .iter()
            .map(|(name, view)| {
                let start = view.data().as_ptr() as usize - base;
                let entry = Entry {
                    dtype: view.dtype(),
                    shape: view.shape().to_vec(),
                    start,
                    end: start + view.data().len(),
                };
                (name.to_owned(), entry)
            })
            .collect();
        Ok(Self {
            path: path.into(),
            map,
            entries,
        })
    }

    /// Opens a file whose content must have the given checksum.
    ///
    /// # Errors
    /// Those of [`Self::open`], and `Checksum` if the content differs.
    pub fn open_verified(path: &Path, expected: &str) -> Result<Self, WeightsError> {
        let file = Self::open(path)?;
        let found = sha256(&file.map);
        if found != expected {
            return Err(WeightsError::Checksum {
                path: path.into(),
                expected: expected.into(),
                found,
            });
        }
        Ok(file)
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of the whole file.
    pub fn checksum(&self) -> Checksum {
        sha256(&self.map)
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Shape of a tensor, if it is there.
    pub fn shape(&self, key: &str) -> Option<&[usize]> {
        self.entries.get(key).map(|entry| entry.shape.as_slice())
    }

    /// A floating-point tensor, widened to f32; `None` if it is absent or not floating-point.
    pub fn f32(&self, key: &str) -> Option<Vec<f32>> {
        let entry = self.entries.get(key)?;
        let bytes = &self.map[entry.start..entry.end];
        Some(match entry.dtype {
            Dtype::F32 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect(),
            Dtype::F64 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| f64::from_le_bytes(*b) as f32)
                .collect(),
            Dtype::F16 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| f16::from_le_bytes(*b).to_f32())
                .collect(),
            Dtype::BF16 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| bf16::from_le_bytes(*b).to_f32())
                .collect(),
            _ => return None,
        })
    }

    /// A 64-bit integer tensor; `None` if it is absent or of another type.
    pub fn i64(&self, key: &str) -> Option<Vec<i64>> {
        let entry = self.entries.get(key)?;
        (entry.dtype == Dtype::I64).then(|| {
            self.map[entry.start..entry.end]
                .as_chunks()
                .0
                .iter()
                .map(|b| i64::from_le_bytes(*b))
                .collect()
        })
    }

    /// A string stored in the file's metadata.
    pub fn metadata(&self, key: &str) -> Option<String> {
        let (_, header) = SafeTensors::read_metadata(&self.map).ok()?;
        header.metadata().as_ref()?.get(key).cloned()
    }
}

/// SHA-256 of some bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> Checksum {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
