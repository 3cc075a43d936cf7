//! Generated pictures: features of theirs and of real ones, a row a picture.

use super::features::{FeatureNetwork, Features};
use super::input::{Input, PredictionError, Result};
use super::scorer::{Scorer, Scores, Truth};
use crate::figures::{Figure, Unit};
use crate::frechet::{Gaussian, frechet_distance};

pub(super) const SCORER: Scorer = Scorer {
    name: "frechet",
    predictions: "features [pictures, width] of generated pictures: NumPy's .npy, or safetensors with one tensor (or \
                  `features`)",
    truth: Truth::Beside("the same of real pictures", score),
};

fn score(predictions: Input<'_>, references: Input<'_>) -> Result<Scores> {
    frechet_scores(&Features::read(predictions)?, &Features::read(references)?)
}

/// The Fréchet distance of two sets of features, under the name that it has with the network that made them.
///
/// # Errors
/// `Record` if they are of two networks; `Metrics` naming the set that has less than two rows, numbers that are none, or
/// another width.
pub fn frechet_scores(generated: &Features, real: &Features) -> Result<Scores> {
    let network = common_network(generated, real)?;
    let distance = frechet_distance(&gaussian(real)?, &gaussian(generated)?);
    let distance = named(generated, distance)?;
    let name = network.map_or("frechet_distance", |network| &network.distance);
    let mut figure = Figure::plain(name, distance, Unit::Score);
    figure.lower_is_better = true;
    let note = match (network, &generated.network, &real.network) {
        (None, ..) => "it is FID only with Inception's features; compare sets of equal size only",
        (_, Some(_), Some(_)) => "compare sets of equal size only, by the same weights",
        _ => {
            "features from a file that does not name its network are taken for the same one's; compare sets of equal size \
             only"
        }
    };
    let scores = Scores {
        note: Some(note),
        ..Scores::new([figure])
            .with("samples", generated.rows)
            .with("reference_samples", real.rows)
            .with("width", real.width)
    };
    Ok(match network {
        Some(network) => scores.with("weights", network.weights.as_str()),
        None => scores,
    })
}

/// The network that both are of, as far as they say.
fn common_network<'a>(
    generated: &'a Features,
    real: &'a Features,
) -> Result<Option<&'a FeatureNetwork>> {
    let told =
        |network: &FeatureNetwork| format!("{} by weights {}", network.distance, network.weights);
    match (&generated.network, &real.network) {
        (Some(one), Some(other)) if one != other => Err(PredictionError::Record {
            file: generated.name.clone(),
            place: "network".into(),
            expected: format!("that of {}, {}", real.name, told(other)),
            found: told(one),
        }),
        (one, other) => Ok(one.as_ref().or(other.as_ref())),
    }
}

fn gaussian(features: &Features) -> Result<Gaussian> {
    let rows = features.values.chunks_exact(features.width.max(1));
    named(features, Gaussian::from_rows(rows))
}

fn named<T>(features: &Features, result: crate::Result<T>) -> Result<T> {
    result.map_err(|error| PredictionError::Metrics {
        file: features.name.clone(),
        error,
    })
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
        let one = file("x", [1, 1], &[2.0]);
        let error = SCORER
            .score(input(&generated), Some(input(&one)))
            .unwrap_err();
        assert!(error.to_string().contains("two rows"), "{error}");
        let wide = file("features", [2, 2], &[0.0; 4]);
        assert!(SCORER.score(input(&wide), Some(input(&real))).is_err());
    }
    #[test]
    fn the_network_names_the_distance() {
        let features = |network: Option<&str>| Features {
            name: "f".into(),
            values: vec![1.0, 2.0],
            rows: 2,
            width: 1,
            network: network.map(|weights| FeatureNetwork {
                distance: "FID".into(),
                weights: weights.into(),
            }),
        };
        let name = |a, b| {
            let scores = frechet_scores(&features(a), &features(b))?;
            Ok::<_, PredictionError>(scores.figures[0].name.clone())
        };
        assert_eq!(name(None, None).unwrap(), "frechet_distance");
        assert_eq!(name(Some("a"), Some("a")).unwrap(), "FID");
        assert_eq!(name(None, Some("a")).unwrap(), "FID");
        let error = name(Some("a"), Some("b")).unwrap_err().to_string();
        assert!(
            error.contains("weights a") && error.contains("weights b"),
            "{error}"
        );
    }
}
