//! Rows of features from the files that programs write them to: NumPy's `.npy`, or safetensors.

use std::collections::HashMap;

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::input::{Input, Result};

/// Features, a row a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// The file or folder that they are of, for errors.
    pub name: String,
    /// Row after row; single precision, as every network makes them.
    pub values: Vec<f32>,
    /// How many pictures.
    pub rows: usize,
    /// How many numbers a picture.
    pub width: usize,
    /// The network that made them, if it is known.
    pub network: Option<FeatureNetwork>,
}

/// What makes features of pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureNetwork {
    /// What a Fréchet distance of its features is called, as FID.
    pub distance: String,
    /// Checksum of its weights.
    pub weights: String,
}

/// Fields of the metadata of safetensors.
const DISTANCE: &str = "distance";
const WEIGHTS: &str = "weights";
/// The tensor.
const FEATURES: &str = "features";

impl Features {
    /// Reads NumPy's `.npy` or safetensors, by what the file begins with.
    ///
    /// # Errors
    /// `Record` naming what is not as the format says, or is no matrix of floats.
    pub fn read(file: Input<'_>) -> Result<Self> {
        if file.bytes.starts_with(MAGIC) {
            npy(file)
        } else {
            safetensors(file)
        }
    }

    /// As safetensors, which say what network they are of.
    ///
    /// # Panics
    /// If there are not `rows` times `width` values.
    #[must_use]
    pub fn to_safetensors(&self) -> Vec<u8> {
        let bytes: Vec<u8> = self.values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let tensor = TensorView::new(Dtype::F32, vec![self.rows, self.width], &bytes);
        let metadata = self.network.clone().map(|network| {
            HashMap::from([
                (DISTANCE.to_owned(), network.distance),
                (WEIGHTS.to_owned(), network.weights),
            ])
        });
        let written =
            tensor.and_then(|tensor| safetensors::serialize([(FEATURES, tensor)], metadata));
        written.expect("as many values as rows times width")
    }
}

/// The network that a file says its features are of.
fn network(bytes: &[u8]) -> Option<FeatureNetwork> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let metadata = header.metadata().as_ref()?;
    Some(FeatureNetwork {
        distance: metadata.get(DISTANCE)?.clone(),
        weights: metadata.get(WEIGHTS)?.clone(),
    })
}

const SHAPE: &str = "shape [pictures, width]";
const FLOATS: &str = "floats of 16, 32 or 64 bits, little-endian";

fn safetensors(file: Input<'_>) -> Result<Features> {
    let expected = "one tensor, or one named features";
    let tensors = SafeTensors::deserialize(file.bytes).map_err(|error| {
        file.broken("header", "safetensors, or NumPy's .npy", error.to_string())
    })?;
    let names = tensors.names();
    let name = match names.as_slice() {
        [one] => (*one).to_owned(),
        _ if names.contains(&FEATURES) => FEATURES.to_owned(),
        _ => return Err(file.broken("tensors", expected, format!("{} tensors", names.len()))),
    };
    let place = format!("tensor {name}");
    let tensor = tensors
        .tensor(&name)
        .map_err(|error| file.broken(&place, expected, error.to_string()))?;
    let [rows, width] = *tensor.shape() else {
        return Err(file.broken(place, SHAPE, format!("shape {:?}", tensor.shape())));
    };
    let values = match tensor.dtype() {
        Dtype::F16 => floats(tensor.data(), |b: [u8; 2]| f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => floats(tensor.data(), |b: [u8; 2]| bf16::from_le_bytes(b).to_f32()),
        Dtype::F32 => floats(tensor.data(), f32::from_le_bytes),
        Dtype::F64 => floats(tensor.data(), single),
        other => return Err(file.broken(place, FLOATS, format!("{other:?}"))),
    };
    Ok(Features {
        name: file.name.to_owned(),
        values,
        rows,
        width,
        network: network(file.bytes),
    })
}

const MAGIC: &[u8] = b"\x93NUMPY";

/// Format 1, 2 or 3: magic, version, length of the header, the header as a Python dictionary, the values.
fn npy(file: Input<'_>) -> Result<Features> {
    let cut = || file.broken("header", "NumPy's .npy", "a file that ends within it");
    let rest = &file.bytes[MAGIC.len()..];
    let (version, rest) = rest.split_at_checked(2).ok_or_else(cut)?;
    let (length, rest) = if version[0] == 1 {
        let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
        (usize::from(u16::from_le_bytes(*length)), rest)
    } else {
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        (u32::from_le_bytes(*length) as usize, rest)
    };
    let (header, data) = rest.split_at_checked(length).ok_or_else(cut)?;
    let header = String::from_utf8_lossy(header);
    let field = |name: &str| {
        let (_, after) = header.split_once(&format!("'{name}':"))?;
        Some(after.trim_start())
    };
    let unclear = |name: &str| file.broken("header", name, header.trim());
    let kind = field("descr").and_then(|text| text.strip_prefix('\''));
    let kind = kind.and_then(|text| text.split('\'').next());
    let kind = kind.ok_or_else(|| unclear("'descr': a type"))?;
    if !field("fortran_order").is_some_and(|text| text.starts_with("False")) {
        return Err(unclear("'fortran_order': False (numpy.ascontiguousarray)"));
    }
    let shape = field("shape").and_then(|text| text.strip_prefix('(')?.split(')').next());
    let shape: Option<Vec<usize>> = shape.and_then(|text| {
        let numbers = text.split(',').map(str::trim).filter(|n| !n.is_empty());
        numbers.map(|n| n.parse().ok()).collect()
    });
    let shape = shape.ok_or_else(|| unclear("'shape': numbers"))?;
    let [rows, width] = *shape.as_slice() else {
        return Err(file.broken("header", SHAPE, format!("shape {shape:?}")));
    };
    let size = match kind {
        "<f2" => 2,
        "<f4" => 4,
        "<f8" => 8,
        other => return Err(file.broken("header, descr", FLOATS, other)),
    };
    let expected = rows.checked_mul(width).and_then(|n| n.checked_mul(size));
    if expected != Some(data.len()) {
        return Err(file.broken(
            "values",
            format!("{rows} × {width} values of {size} bytes"),
            format!("{} bytes", data.len()),
        ));
    }
    let values = match size {
        2 => floats(data, |b: [u8; 2]| f16::from_le_bytes(b).to_f32()),
        4 => floats(data, f32::from_le_bytes),
        _ => floats(data, single),
    };
    Ok(Features {
        name: file.name.to_owned(),
        values,
        rows,
        width,
        network: None,
    })
}

#[allow(clippy::cast_possible_truncation)] // features are single precision in every network that makes them
fn single(bytes: [u8; 8]) -> f32 {
    f64::from_le_bytes(bytes) as f32
}

fn floats<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (values, _) = bytes.as_chunks::<N>();
    values.iter().map(|bytes| value(*bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn error(bytes: &[u8]) -> String {
        let input = Input {
            name: "f.npy",
            bytes,
        };
        Features::read(input).err().unwrap().to_string()
    }

    #[test]
    fn numpys_files_are_read() {
        let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 1), }\n";
        let data: Vec<u8> = [1.5f64, -2.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let bytes = file(header, &data);
        let found = Features::read(Input {
            name: "f.npy",
            bytes: &bytes,
        });
        let found = found.unwrap();
        assert_eq!((found.rows, found.width), (2, 1));
        assert_eq!(found.values, [1.5, -2.0]);
    }

    #[test]
    fn what_is_written_is_read_and_says_its_network() {
        let features = Features {
            name: "f.safetensors".into(),
            values: vec![1.5, -2.0],
            rows: 2,
            width: 1,
            network: Some(FeatureNetwork {
                distance: "FID".into(),
                weights: "00ff".into(),
            }),
        };
        let read = |features: &Features| {
            let bytes = features.to_safetensors();
            let input = Input {
                name: "f.safetensors",
                bytes: &bytes,
            };
            Features::read(input).unwrap()
        };
        assert_eq!(read(&features), features);
        let unknown = Features {
            network: None,
            ..features
        };
        assert_eq!(read(&unknown), unknown);
    }

    #[test]
    fn lying_headers_are_named() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
        assert!(error(&file(header, &[0; 8])).contains("2 × 3 values"));
        assert!(error(&file(&header.replace("False", "True"), &[])).contains("fortran_order"));
        assert!(error(&file(&header.replace("<f4", "<i8"), &[])).contains("<i8"));
        assert!(error(&file(&header.replace("(2, 3)", "(6,)"), &[])).contains("shape [6]"));
        let huge = header.replace("(2, 3)", "(99999999999, 99999999999)");
        assert!(error(&file(&huge, &[])).contains("values"));
        assert!(error(b"\x93NUMPY\x01").contains("ends within"));
        assert!(error(&file(header, &[])[..20]).contains("ends within"));
    }
}
