//! Generated pictures: features of theirs and of real ones, a row a picture.

use super::features::{self, Features};
use super::input::{Input, Result};
use super::scorer::{Scorer, Scores};
use crate::figures::{Figure, Unit};
use crate::frechet::{Gaussian, frechet_distance};

pub(super) const SCORER: Scorer = Scorer {
    name: "frechet",
    predictions: "features [pictures, width] of generated pictures: NumPy's .npy, or safetensors with one tensor (or \
                  `features`)",
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
    let Features {
        values,
        rows,
        width,
    } = features::read(file)?;
    let gaussian = Gaussian::from_rows(values.chunks_exact(width.max(1)));
    Ok((file.scored(gaussian)?, rows))
}

#[cfg(test)]
mod tests {
    use safetensors::Dtype;

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
