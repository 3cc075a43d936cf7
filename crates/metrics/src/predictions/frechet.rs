//! Generated pictures: features of theirs and of real ones, a row a picture.

use safetensors::{Dtype, SafeTensors};

use super::input::{Input, Result};
use super::scorer::{Scorer, Scores};
use crate::figures::{Figure, Unit};
use crate::frechet::{Gaussian, frechet_distance};

pub(super) const SCORER: Scorer = Scorer {
    name: "frechet",
    predictions: "safetensors with one tensor (or `features`) [pictures, width], f32 or f64, of generated pictures",
    references: Some("the same of real pictures"),
    score,
};

fn score(predictions: Input<'_>, references: Input<'_>) -> Result<Scores> {
    let (generated, samples) = gaussian(predictions)?;
    let (real, reference_samples) = gaussian(references)?;
    let distance = predictions.scored(frechet_distance(&real, &generated))?;
    let mut figure = Figure::plain("frechet_distance", distance, Unit::Score);
    figure.lower_is_better = true;
    Ok(Scores {
        note: Some("it is FID only with Inception's features; compare sets of equal size only"),
        ..Scores::new([figure])
            .with("samples", samples)
            .with("reference_samples", reference_samples)
            .with("width", real.width())
    })
}

fn gaussian(file: Input<'_>) -> Result<(Gaussian, usize)> {
    let expected = "one tensor, or one named features";
    let tensors = SafeTensors::deserialize(file.bytes)
        .map_err(|error| file.broken("header", "safetensors", error.to_string()))?;
    let names = tensors.names();
    let name = match names.as_slice() {
        [one] => (*one).to_owned(),
        _ if names.contains(&"features") => "features".to_owned(),
        _ => return Err(file.broken("tensors", expected, format!("{} tensors", names.len()))),
    };
    let tensor = tensors
        .tensor(&name)
        .map_err(|error| file.broken(format!("tensor {name}"), expected, error.to_string()))?;
    let place = format!("tensor {name}");
    let [rows, width] = *tensor.shape() else {
        let found = format!("shape {:?}", tensor.shape());
        return Err(file.broken(place, "shape [pictures, width]", found));
    };
    let bytes = tensor.data();
    let values: Vec<f32> = match tensor.dtype() {
        Dtype::F32 => bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect(),
        #[allow(clippy::cast_possible_truncation)]
        // features are single precision in every network that makes them
        Dtype::F64 => bytes
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32)
            .collect(),
        other => return Err(file.broken(place, "f32 or f64", format!("{other:?}"))),
    };
    let gaussian = Gaussian::from_rows(values.chunks_exact(width.max(1)));
    Ok((file.scored(gaussian)?, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, shape: [usize; 2], values: &[f32]) -> Vec<u8> {
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let view = safetensors::tensor::TensorView::new(Dtype::F32, shape.to_vec(), &data).unwrap();
        safetensors::serialize([(name, view)], None).unwrap()
    }

    #[test]
    fn by_hand() {
        // Means 0 and 3, variances 2 and 2 (n − 1).
        let real = file("features", [2, 1], &[-1.0, 1.0]);
        let generated = file("x", [2, 1], &[2.0, 4.0]);
        let input = |bytes| Input {
            name: "f.safetensors",
            bytes,
        };
        let score = SCORER
            .score(input(&generated), Some(input(&real)))
            .unwrap()
            .json();
        assert!((score["frechet_distance"].as_f64().unwrap() - 9.0).abs() < 1e-9);
        assert_eq!(score["samples"], 2);
        let error = SCORER.score(input(b"no"), Some(input(&real))).unwrap_err();
        assert!(
            error.to_string().contains("f.safetensors, header"),
            "{error}"
        );
        let wide = file("features", [2, 2], &[0.0; 4]);
        assert!(SCORER.score(input(&wide), Some(input(&real))).is_err());
    }
}
