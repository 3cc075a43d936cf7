//! Do 95 % intervals hold the truth in about 95 of 100 studies? Simulated studies, where the truth is known.

use deem_metrics::statistics::{Scored, accuracy, mean};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const STUDIES: usize = 600;
const IMAGES: usize = 60;

/// Roughly normal, standard deviation 1.
fn noise(rng: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

/// Share of studies whose interval holds the truth 0, for spreads between seeds, between images, and between answers.
fn coverage(seeds: u64, between_seeds: f64, between_images: f64, between_answers: f64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let held = (0..STUDIES).filter(|_| {
        let images: Vec<f64> = (0..IMAGES)
            .map(|_| between_images * noise(&mut rng))
            .collect();
        let mut samples = Vec::new();
        for seed in 0..seeds {
            let shift = between_seeds * noise(&mut rng);
            for (i, image) in images.iter().enumerate() {
                for question in 0..2 {
                    let value = shift + image + between_answers * noise(&mut rng);
                    samples.push(Scored::new(
                        seed,
                        i.to_string(),
                        format!("{i}/{question}"),
                        value,
                    ));
                }
            }
        }
        let interval = mean(&samples).expect("samples");
        interval.low <= 0.0 && 0.0 <= interval.high
    });
    held.count() as f64 / STUDIES as f64
}

#[test]
fn one_run() {
    for spread in [0.0, 1.0] {
        let share = coverage(1, 0.0, spread, 1.0);
        assert!((0.92..=0.975).contains(&share), "{share}");
    }
}

#[test]
fn three_seeds_that_differ_or_not() {
    for (between_seeds, between_images) in [(0.0, 0.5), (0.1, 0.5), (0.3, 0.5), (1.0, 0.1)] {
        let share = coverage(3, between_seeds, between_images, 1.0);
        assert!(
            (0.92..=0.995).contains(&share),
            "{between_seeds} {between_images}: {share}"
        );
    }
}

#[test]
fn rare_successes() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let held = (0..STUDIES).filter(|_| {
        let samples: Vec<Scored> = (0..IMAGES)
            .map(|i| {
                Scored::new(
                    0,
                    i.to_string(),
                    i.to_string(),
                    f64::from(u8::from(rng.random::<f64>() < 0.03)),
                )
            })
            .collect();
        let interval = accuracy(&samples).expect("samples");
        interval.low <= 0.03 && 0.03 <= interval.high
    });
    let share = held.count() as f64 / STUDIES as f64;
    assert!(share >= 0.92, "{share}");
}
