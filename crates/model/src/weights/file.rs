use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deem_kernels::PackedMatrix;
use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use super::gguf::{self, Encoding, GgufFile, Rotated};
use super::index::{ShardIndex, is_index};
use super::mapped::{mapped, release};
use super::torch::{TorchFile, TorchTensor};
use super::{Place, WeightsError};
use crate::published::is_lfs_pointer;

/// SHA-256 in lower-case hexadecimal.
pub type Checksum = String;

/// Memory-mapped weights, validated on opening: a safetensors file, the shards that an index lists, or the
/// LLaMA in a GGUF file, whose tensors have transformers' keys, unpacked numbers and order of rows here.
///
/// Reading a tensor gives its pages back, so that a program that loads a checkpoint holds the loaded
/// values and one tensor more, not the file as well.
#[derive(Debug)]
pub struct WeightsFile {
    path: PathBuf,
    shards: Vec<Arc<Mmap>>,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    shard: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    start: usize,
    end: usize,
    packing: Option<Packing>,
    /// Whether rows of the file are columns here.
    transposed: bool,
    /// A tensor of a pickle, whose numbers need not lie in order: what begins and ends is among those in order.
    pickled: Option<TorchTensor>,
}

/// What must be undone to a GGUF file's tensor.
#[derive(Clone, Copy, Debug)]
struct Packing {
    encoding: &'static Encoding,
    rotated: Option<Rotated>,
}

impl Entry {
    /// The numbers of a GGUF file's tensor.
    fn unpacked(&self, bytes: &[u8]) -> Option<Vec<f32>> {
        let packing = self.packing?;
        Some(self.restored(packing.encoding.unpack(bytes)))
    }

    /// Numbers of any type, or their bytes, with rows in transformers' order.
    fn restored<T: Copy>(&self, numbers: Vec<T>) -> Vec<T> {
        let rows = self.shape.first().copied().unwrap_or(1);
        if let (true, [rows, columns]) = (self.transposed, self.shape.as_slice()) {
            return transposed(&numbers, *columns, *rows);
        }
        match self.packing.and_then(|packing| packing.rotated) {
            Some(rotated) => rotated.restore(&numbers, rows),
            None => numbers,
        }
    }
}

impl WeightsFile {
    /// Opens and validates a `.safetensors` or `.gguf` file, or all shards of an `.index.json`, without
    /// reading tensors.
    ///
    /// # Errors
    /// `Io` if a file cannot be opened, `Format` or `Gguf` naming the rule that a file breaks, `Index` if
    /// an index and its shards disagree.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let mut file = Self {
            path: path.into(),
            shards: Vec::new(),
            entries: BTreeMap::new(),
        };
        if is_index(path) {
            let index = ShardIndex::read(path)?;
            for (shard, keys) in index.shards() {
                let shard = path.with_file_name(shard);
                file.add(&shard)?;
                let lost = keys.iter().find(|key| !file.entries.contains_key(**key));
                if let Some(lost) = lost {
                    let shard = shard.display();
                    return Err(index.wrong(format!("{lost}: expected in {shard}, not there")));
                }
            }
        } else {
            file.add(path)?;
        }
        Ok(file)
    }

    /// Opens a file that `torch.save` wrote, or any that [`Self::open`] does, by what it begins with. Nothing in it is
    /// executed.
    ///
    /// # Errors
    /// Those of [`Self::open`], and `Pickle` naming what is broken or what it holds besides tensors.
    pub fn open_any(path: &Path) -> Result<Self, WeightsError> {
        if !TorchFile::begins(path)? {
            return Self::open(path);
        }
        let file = TorchFile::open(path)?;
        let entries = file.tensors().iter().map(|tensor| {
            let entry = Entry {
                shard: 0,
                dtype: tensor.dtype,
                shape: tensor.shape.clone(),
                start: 0,
                end: tensor.stored_bytes(),
                packing: None,
                transposed: false,
                pickled: Some(tensor.clone()),
            };
            (tensor.name.clone(), entry)
        });
        Ok(Self {
            path: path.into(),
            entries: entries.collect(),
            shards: vec![Arc::new(file.into_map())],
        })
    }

    fn add(&mut self, path: &Path) -> Result<(), WeightsError> {
        let format = |rule: String| WeightsError::Format {
            path: path.into(),
            rule,
        };
        let named = path.extension().unwrap_or_default();
        if named.eq_ignore_ascii_case("gguf") {
            return self.add_gguf(GgufFile::open(path)?);
        }
        let Some(map) = mapped(path, 8)? else {
            return Err(format("shorter than its 8-byte header length".into()));
        };
        if is_lfs_pointer(&map) {
            return Err(WeightsError::Pointer { path: path.into() });
        }
        if map.starts_with(gguf::MAGIC) {
            return self.add_gguf(GgufFile::of(path, map)?);
        }
        let tensors = SafeTensors::deserialize(&map).map_err(|e| format(e.to_string()))?;
        let base = map.as_ptr() as usize;
        for (name, view) in tensors.iter() {
            let start = view.data().as_ptr() as usize - base;
            let entry = Entry {
                shard: self.shards.len(),
                dtype: view.dtype(),
                shape: view.shape().to_vec(),
                start,
                end: start + view.data().len(),
                packing: None,
                transposed: false,
                pickled: None,
            };
            if self.entries.insert(name.to_owned(), entry).is_some() {
                return Err(format(format!("{name} is in another shard, too")));
            }
        }
        self.shards.push(Arc::new(map));
        Ok(())
    }

    fn add_gguf(&mut self, file: GgufFile) -> Result<(), WeightsError> {
        for keyed in file.llama_tensors()? {
            let tensor = keyed.tensor;
            let entry = Entry {
                shard: self.shards.len(),
                dtype: tensor.encoding.dtype,
                shape: tensor.shape.clone(),
                start: tensor.bytes.start,
                end: tensor.bytes.end,
                packing: Some(Packing {
                    encoding: tensor.encoding,
                    rotated: keyed.rotated,
                }),
                transposed: false,
                pickled: None,
            };
            let key = keyed.key.into_owned();
            if self.entries.insert(key.clone(), entry).is_some() {
                return Err(file.wrong(format!("two of its tensors are {key}")));
            }
        }
        self.shards.push(Arc::new(file.into_map()));
        Ok(())
    }

    /// Opens a file whose content must have the given checksum.
    ///
    /// # Errors
    /// Those of [`Self::open`], and `Checksum` if the content differs.
    pub fn open_verified(path: &Path, expected: &str) -> Result<Self, WeightsError> {
        let file = Self::open(path)?;
        let found = file.checksum();
        if found != expected {
            return Err(WeightsError::Checksum {
                path: path.into(),
                expected: expected.into(),
                found,
            });
        }
        Ok(file)
    }

    /// The same tensors, of which some are seen at other places: what `views` names, by the names it gives. A tensor that
    /// is seen so is no longer there under its own key.
    pub(super) fn seen_at(mut self, views: Vec<View>) -> Self {
        let mut seen: BTreeMap<String, Entry> = BTreeMap::new();
        for view in &views {
            if let Some(entry) = self.entries.get(&view.place.key) {
                seen.insert(view.name.clone(), view.of(entry));
            }
        }
        for view in &views {
            self.entries.remove(&view.place.key);
        }
        self.entries.extend(seen);
        self
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of the whole file, or of its shards one after the other.
    pub fn checksum(&self) -> Checksum {
        let mut hasher = Sha256::new();
        for shard in &self.shards {
            hasher.update(&shard[..]);
            release(shard, 0..shard.len());
        }
        hexadecimal(&hasher.finalize())
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Shape of a tensor, if it is there.
    pub fn shape(&self, key: &str) -> Option<&[usize]> {
        self.entries.get(key).map(|entry| entry.shape.as_slice())
    }

    /// Type of a tensor's numbers, if it is there; quantised ones are F32.
    pub fn dtype(&self, key: &str) -> Option<Dtype> {
        self.entries.get(key).map(|entry| entry.dtype)
    }

    /// A tensor's numbers, little-endian, as [`Self::dtype`] says; `None` if it is absent.
    pub fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        self.read(key, |entry, bytes| {
            let quantised = entry.packing.is_some_and(|p| p.encoding.values > 1);
            if entry.transposed {
                let width = (entry.dtype.bitsize() / 8).max(1);
                let numbers: Vec<&[u8]> = bytes.chunks(width).collect();
                return Some(entry.restored(numbers).concat());
            }
            Some(if quantised {
                let numbers = entry.unpacked(bytes)?.into_iter();
                numbers.flat_map(f32::to_le_bytes).collect()
            } else {
                entry.restored(bytes.to_vec())
            })
        })
    }

    /// A matrix that is quantised, as it lies in the file, which stays mapped as long as the matrix lives; `None` if
    /// it is absent or not quantised.
    pub fn packed(&self, key: &str) -> Option<PackedMatrix> {
        let entry = self.entries.get(key)?;
        let packing = entry.packing?;
        let shape: [usize; 2] = entry.shape.as_slice().try_into().ok()?;
        let memory = self.shards[entry.shard].clone();
        let matrix = PackedMatrix::new(
            packing.encoding.format?,
            shape,
            memory,
            entry.start..entry.end,
        );
        let matrix = matrix.ok()?;
        match packing.rotated {
            Some(rotated) => {
                let order: Vec<u32> = rotated.sources(shape[0]).map(|row| row as u32).collect();
                matrix.reordered(&order).ok()
            }
            None => Some(matrix),
        }
    }

    /// Bytes of all tensors as they are stored.
    pub fn stored_bytes(&self) -> u64 {
        let sizes = self.entries.values().map(|entry| entry.end - entry.start);
        sizes.sum::<usize>() as u64
    }

    /// A floating-point tensor, widened to f32; `None` if it is absent or not floating-point.
    pub fn f32(&self, key: &str) -> Option<Vec<f32>> {
        self.read(key, |entry, bytes| match entry.dtype {
            _ if entry.packing.is_some() => entry.unpacked(bytes),
            Dtype::F32 => Some(entry.restored(values(bytes, f32::from_le_bytes))),
            Dtype::F64 => Some(entry.restored(values(bytes, |b| f64::from_le_bytes(b) as f32))),
            Dtype::F16 => Some(entry.restored(values(bytes, |b| f16::from_le_bytes(b).to_f32()))),
            Dtype::BF16 => Some(entry.restored(values(bytes, |b| bf16::from_le_bytes(b).to_f32()))),
            _ => None,
        })
    }

    /// Whether a tensor is there and [`Self::f32`] reads it.
    pub(super) fn is_float(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|entry| {
            let floats = [Dtype::F32, Dtype::F64, Dtype::F16, Dtype::BF16];
            entry.packing.is_some() || floats.contains(&entry.dtype)
        })
    }

    /// A tensor stored in IEEE's half precision; `None` if it is absent or of another type.
    pub fn f16(&self, key: &str) -> Option<Vec<f16>> {
        self.halves(key, Dtype::F16, f16::from_le_bytes)
    }

    /// A tensor stored in bf16; `None` if it is absent or of another type.
    pub fn bf16(&self, key: &str) -> Option<Vec<bf16>> {
        self.halves(key, Dtype::BF16, bf16::from_le_bytes)
    }

    fn halves<T: Copy>(
        &self,
        key: &str,
        dtype: Dtype,
        half: impl Fn([u8; 2]) -> T,
    ) -> Option<Vec<T>> {
        self.read(key, |entry, bytes| {
            (entry.dtype == dtype).then(|| entry.restored(values(bytes, &half)))
        })
    }

    /// A 64-bit integer tensor; `None` if it is absent or of another type.
    pub fn i64(&self, key: &str) -> Option<Vec<i64>> {
        self.read(key, |entry, bytes| {
            (entry.dtype == Dtype::I64).then(|| values(bytes, i64::from_le_bytes))
        })
    }

    /// Hands a tensor's bytes to `decode` and gives their pages back afterwards.
    fn read<T>(&self, key: &str, decode: impl Fn(&Entry, &[u8]) -> Option<T>) -> Option<T> {
        let entry = self.entries.get(key)?;
        let shard = &self.shards[entry.shard];
        if let Some(tensor) = &entry.pickled {
            return decode(entry, &tensor.numbers(shard)[entry.start..entry.end]);
        }
        let decoded = decode(entry, &shard[entry.start..entry.end]);
        release(shard, entry.start..entry.end);
        decoded
    }

    /// A string stored in the metadata of safetensors.
    pub fn metadata(&self, key: &str) -> Option<String> {
        let (_, header) = SafeTensors::read_metadata(self.shards.first()?).ok()?;
        header.metadata().as_ref()?.get(key).cloned()
    }
}

/// A tensor of a file as a module has it.
pub(super) struct View {
    /// Its name here.
    pub name: String,
    /// Where it lies.
    pub place: Place,
    /// How many extents it has here.
    pub rank: usize,
}

impl View {
    /// What of an entry is seen. One that does not divide, or has other extents, is seen whole, so that loading tells its
    /// shape.
    fn of(&self, entry: &Entry) -> Entry {
        let mut seen = Entry {
            shape: entry.shape.clone(),
            pickled: entry.pickled.clone(),
            ..*entry
        };
        let ones = |shape: &[usize]| shape.iter().take_while(|extent| **extent == 1).count();
        let surplus = seen.shape.len().saturating_sub(self.rank);
        if self.place.ones {
            if surplus <= ones(&seen.shape) {
                seen.shape.drain(..surplus);
            }
            while seen.shape.len() < self.rank {
                seen.shape.insert(0, 1);
            }
        }
        let Place {
            part: (index, of), ..
        } = self.place;
        if let Some(rows) = seen.shape.first_mut()
            && rows.is_multiple_of(of)
            && index < of
        {
            *rows /= of;
            let length = (entry.end - entry.start) / of;
            seen.start = entry.start + index * length;
            seen.end = seen.start + length;
        }
        if let (true, [rows, columns]) = (self.place.transposed, seen.shape.as_mut_slice()) {
            std::mem::swap(rows, columns);
            seen.transposed = true;
        }
        seen
    }
}

/// A matrix of `rows` and `columns` with both exchanged.
pub(super) fn transposed<T: Copy>(numbers: &[T], rows: usize, columns: usize) -> Vec<T> {
    let columns_of =
        (0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column));
    columns_of.map(|at| numbers[at]).collect()
}

fn values<const N: usize, T>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    let chunks = bytes.as_chunks().0.iter();
    chunks.map(|bytes| value(*bytes)).collect()
}

/// SHA-256 of some bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> Checksum {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
