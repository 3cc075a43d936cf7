//! Tensors on their way from one file to another, one at a time.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;
use serde_json::{Map, Value, json};

use super::torch::TorchFile;
use super::{WeightsError, WeightsFile};

/// A tensor whose numbers are read when they are written.
pub struct LazyTensor<'a> {
    /// Key.
    pub name: String,
    /// Type of its numbers.
    pub dtype: Dtype,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Its numbers in row-major order, little-endian.
    pub read: Box<dyn Fn() -> Vec<u8> + 'a>,
}

impl LazyTensor<'_> {
    /// Length of its numbers in bytes.
    pub fn len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }

    /// Whether it has no numbers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its numbers, widened to f32; `None` if they are not floating-point.
    pub fn f32(&self) -> Option<Vec<f32>> {
        let bytes = (self.read)();
        Some(match self.dtype {
            Dtype::F32 => numbers(&bytes, f32::from_le_bytes),
            Dtype::F16 => numbers(&bytes, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => numbers(&bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::F64 => numbers(&bytes, |b| f64::from_le_bytes(b) as f32),
            _ => return None,
        })
    }
}

fn numbers<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let chunks = bytes.as_chunks().0.iter();
    chunks.map(|bytes| number(*bytes)).collect()
}

/// All tensors of pickles and of safetensors, as they lie there.
pub fn read_tensors<'a>(pickles: &'a [TorchFile], files: &'a [WeightsFile]) -> Vec<LazyTensor<'a>> {
    let pickled = pickles.iter().flat_map(|file| {
        file.tensors().iter().map(move |tensor| LazyTensor {
            name: tensor.name.clone(),
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            read: Box::new(move || file.bytes(tensor)),
        })
    });
    let safe = files.iter().flat_map(|file| {
        file.keys().filter_map(move |key| {
            Some(LazyTensor {
                name: key.to_owned(),
                dtype: file.dtype(key)?,
                shape: file.shape(key)?.to_vec(),
                read: Box::new(move || file.bytes(key).unwrap_or_default()),
            })
        })
    });
    pickled.chain(safe).collect()
}

/// Writes tensors as a safetensors file, reading one at a time. The file appears whole or not at all.
///
/// # Errors
/// `Io` naming the file, `Convert` if a key occurs twice.
pub fn write_stream(
    tensors: &mut [LazyTensor],
    path: &Path,
    metadata: &HashMap<String, String>,
) -> Result<(), WeightsError> {
    // Wide numbers first keep all of them aligned.
    tensors.sort_by(|a, b| {
        let width = |tensor: &LazyTensor| std::cmp::Reverse(tensor.dtype.bitsize());
        (width(a), &a.name).cmp(&(width(b), &b.name))
    });
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!(metadata));
    let mut at = 0;
    for tensor in tensors.iter() {
        let end = at + tensor.len();
        let entry = json!({
            "dtype": tensor.dtype.to_string(), "shape": tensor.shape, "data_offsets": [at, end],
        });
        at = end;
        if header.insert(tensor.name.clone(), entry).is_some() {
            return Err(WeightsError::Convert {
                path: path.into(),
                problem: format!("{} would be written twice", tensor.name),
            });
        }
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let temporary = path.with_extension("safetensors.part");
    let result = (|| {
        let mut file = BufWriter::new(File::create(&temporary)?);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for tensor in tensors.iter() {
            file.write_all(&(tensor.read)())?;
        }
        file.into_inner().map_err(|e| e.into_error())?.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(|cause| WeightsError::Io {
        path: path.into(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_widths_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let tensor = |name: &str, dtype, shape: &[usize], bytes: &'static [u8]| LazyTensor {
            name: name.into(),
            dtype,
            shape: shape.into(),
            read: Box::new(move || bytes.to_vec()),
        };
        let tensors = || {
            [
                tensor("odd", Dtype::U8, &[3], &[1, 2, 3]),
                tensor("half", Dtype::F16, &[1], &[0, 0x3c]),
                tensor("none", Dtype::F32, &[0, 2], &[]),
                tensor("long", Dtype::I64, &[], &[7, 0, 0, 0, 0, 0, 0, 0]),
            ]
        };
        write_stream(&mut tensors(), &path, &HashMap::new()).unwrap();
        let file = WeightsFile::open(&path).unwrap();
        assert_eq!(file.i64("long").unwrap(), [7]);
        assert_eq!(file.f32("half").unwrap(), [1.0]);
        assert_eq!(file.f32("none").unwrap(), [0.0; 0]);
        assert_eq!(file.bytes("odd").unwrap(), [1, 2, 3]);
        let [odd, ..] = tensors();
        let mut twice = tensors().into_iter().chain([odd]).collect::<Vec<_>>();
        let error = write_stream(&mut twice, &path, &HashMap::new()).unwrap_err();
        assert!(
            error.to_string().contains("odd would be written twice"),
            "{error}"
        );
    }
}
