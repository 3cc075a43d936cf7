//! A made-up study, for the tests and for looking at the page. No figure here was measured.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use deem_engine::evaluate::Comparison;
use deem_metrics::answer::YesNo;
use deem_metrics::pairs::{self, PairSample};
use deem_metrics::pope::{self, PopeSplit};
use deem_metrics::robust_vqa::{self, RobustSet};
use deem_metrics::statistics::{Interval, Scored};
use deem_metrics::yes_no::YesNoSample;
use image::{Rgb, RgbImage};

use super::results::{
    ArmResults, BenchmarkDifference, Differences, Mmvp, Pope, Region, Results, RobustVqa,
    SeedResults, ShuffledImages, difference_name,
};
use super::{Curve, Example, ReportInput, Restoration};

const SEEDS: [u64; 3] = [1, 2, 3];
const PATTERNS: [(&str, f64, f64); 6] = [
    ("background", 0.93, 0.62),
    ("colour", 0.31, 0.16),
    ("orientation", 0.12, 0.10),
    ("position", 0.42, 0.24),
    ("presence", 0.35, 0.33),
    ("quantity", 0.58, 0.27),
];

/// Reproducible numbers in [0, 1).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1u32 << 31)
    }
}

fn yes_no(numbers: &mut Numbers, count: usize, skill: f64, part: &str) -> Vec<YesNoSample> {
    let question = |seed: u64, i: usize, right: bool, unclear: bool| YesNoSample {
        seed,
        image: format!("{part}-{}", i / 2),
        question: i.to_string(),
        truth: YesNo::from(i.is_multiple_of(2)),
        answer: (!unclear).then(|| YesNo::from(i.is_multiple_of(2) == right)),
        margin: None,
    };
    let mut samples = Vec::new();
    for seed in SEEDS {
        for i in 0..count {
            samples.push(question(
                seed,
                i,
                numbers.next() < skill,
                numbers.next() < 0.01,
            ));
        }
    }
    samples
}

struct Arm {
    results: ArmResults,
    robust: Vec<Scored>,
    pope: Vec<Scored>,
    pairs: Vec<Scored>,
}

fn arm(feedback: bool, gain: f64, start: u64) -> Arm {
    let mut numbers = Numbers(start);
    let robust: BTreeMap<RobustSet, Vec<YesNoSample>> =
        (RobustSet::ALL.into_iter().zip([0.55, 0.58, 0.66]))
            .map(|(set, skill)| {
                (
                    set,
                    yes_no(&mut numbers, 200, skill + 0.01 * gain, set.name()),
                )
            })
            .collect();
    let pope: BTreeMap<PopeSplit, Vec<YesNoSample>> =
        (PopeSplit::ALL.into_iter().zip([0.78, 0.72, 0.64]))
            .map(|(split, skill)| {
                (
                    split,
                    yes_no(&mut numbers, 200, skill + 0.05 * gain, "scene"),
                )
            })
            .collect();
    let mut samples = Vec::new();
    for seed in SEEDS {
        for (pattern, with, without) in PATTERNS {
            for pair in 0..25 {
                let both = numbers.next() < without + gain * (with - without);
                for member in 0..2 {
                    let correct = Some(both || (member == 0 && numbers.next() < 0.7));
                    samples.push(PairSample {
                        seed,
                        pair: format!("{pattern}/{pair}"),
                        pattern: pattern.into(),
                        correct,
                    });
                }
            }
        }
    }
    let (robust_score, pope_score) = (
        robust_vqa::score(&robust).unwrap(),
        pope::score(&pope).unwrap(),
    );
    let pair_score = pairs::score(&samples).unwrap();
    let ranking = Interval {
        mean: 0.66 + 0.02 * gain,
        low: 0.61,
        high: 0.72,
    };
    let percent = |mean: f64| Interval {
        mean,
        low: mean - 3.0,
        high: mean + 3.1,
    };
    let per_seed = SEEDS.iter().enumerate().map(|(i, seed)| {
        let off = i as f64 * 1.4 - 1.3;
        let results = SeedResults {
            robust_vqa: 100.0 * robust_score.mean.mean + off,
            pope: 100.0 * pope_score.mean.mean - off,
            mmvp: 100.0 * pair_score.pair_accuracy.mean + 1.5 * off,
        };
        (*seed, results)
    });
    let results = ArmResults {
        robust_vqa: RobustVqa::new(&robust_score, Some(ranking)),
        pope: Pope::from(&pope_score),
        mmvp: Mmvp::from(&pair_score),
        region: Some(Region::new(
            percent(84.0 + 9.0 * gain),
            Interval {
                mean: 0.31,
                low: 0.28,
                high: 0.35,
            },
        )),
        shuffled_images: Some(ShuffledImages {
            own: percent(61.0 + 8.0 * gain),
            shuffled: percent(33.5),
        }),
        seconds_per_step: if feedback { 0.73 } else { 0.34 },
        trainable_parameters: 3_481_216,
        gradient_ratio: feedback.then_some(0.412),
        per_seed: per_seed.collect(),
    };
    Arm {
        results,
        robust: robust_vqa::scored(&robust),
        pope: pope::scored(&pope),
        pairs: pairs::scored(&samples).unwrap(),
    }
}

fn difference(treatment: &Arm, control: &Arm) -> Differences {
    let of = |a: &[Scored], b: &[Scored], part: &dyn Fn(&Scored) -> String| {
        BenchmarkDifference::from(Comparison::new(a, b, part).unwrap())
    };
    Differences {
        robust_vqa: of(&treatment.robust, &control.robust, &|s| s.stratum.clone()),
        pope: of(&treatment.pope, &control.pope, &|s| s.stratum.clone()),
        mmvp: of(&treatment.pairs, &control.pairs, &|s| {
            s.cluster.split('/').next().unwrap_or_default().to_owned()
        }),
    }
}

/// A scene of coloured shapes on a coloured ground, out of focus by `blur` pixels.
fn scene(start: u64, blur: f32) -> RgbImage {
    const SIDE: u32 = 96;
    let mut numbers = Numbers(start * 7919 + 17);
    let mut colour = |bright: f64| {
        Rgb([0, 1, 2].map(|_| (255.0 * (bright + (1.0 - bright) * numbers.next())) as u8))
    };
    let ground = colour(0.75);
    let shapes: Vec<(f64, f64, f64, bool, Rgb<u8>)> = (0..3)
        .map(|i| {
            let c = colour(0.1);
            let [x, y, size] = c.0.map(|v| f64::from(v) / 255.0);
            (
                18.0 + 60.0 * x,
                18.0 + 60.0 * y,
                9.0 + 9.0 * size,
                i % 2 == 0,
                c,
            )
        })
        .collect();
    let sharp = RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let (x, y) = (f64::from(x), f64::from(y));
        let hit = shapes.iter().find(|(cx, cy, r, round, _)| {
            if *round {
                (x - cx).hypot(y - cy) < *r
            } else {
                (x - cx).abs().max((y - cy).abs()) < *r
            }
        });
        hit.map_or(ground, |shape| shape.4)
    });
    if blur > 0.0 {
        image::imageops::fast_blur(&sharp, blur)
    } else {
        sharp
    }
}

fn curves(arms: &[&str]) -> Vec<Curve> {
    let mut curves = Vec::new();
    for (a, arm) in arms.iter().enumerate() {
        for seed in SEEDS {
            let mut numbers = Numbers(seed * 31 + a as u64);
            let mut curve = |term: &str, from: f64, to: f64, noise: f64| {
                let value = |i: usize, n: f64| {
                    to + (from - to) * (-(i as f64) / 90.0).exp() + noise * (n - 0.5)
                };
                let points = (0..600)
                    .map(|i| (i as f64, value(i, numbers.next())))
                    .collect();
                curves.push(Curve {
                    arm: (*arm).to_owned(),
                    seed,
                    term: term.to_owned(),
                    points,
                });
            };
            curve("L_NTP", 2.4, 0.62 + 0.04 * a as f64, 0.12);
            curve("L_NIP", 0.30, 0.21, 0.04);
            if *arm == "feedback" {
                curve("L_CSR", 0.34, 0.17, 0.03);
                curve("gradient_ratio", 0.75, 0.40, 0.1);
            }
        }
    }
    curves
}

/// The whole made-up study.
pub(super) fn sample() -> ReportInput {
    static SAMPLE: LazyLock<ReportInput> = LazyLock::new(make);
    SAMPLE.clone()
}

fn make() -> ReportInput {
    let arms = [
        ("feedback", arm(true, 1.0, 1)),
        ("no-feedback", arm(false, 0.0, 2)),
        ("paper-baseline", arm(false, -0.2, 3)),
    ];
    let difference = BTreeMap::from([
        (
            difference_name("feedback", "no-feedback"),
            difference(&arms[0].1, &arms[1].1),
        ),
        (
            difference_name("feedback", "paper-baseline"),
            difference(&arms[0].1, &arms[2].1),
        ),
    ]);
    let names = arms.each_ref().map(|(name, _)| *name);
    let after = |i: u64| {
        vec![
            ("feedback".to_owned(), scene(i, 2.0)),
            ("no-feedback".to_owned(), scene(i, 6.0)),
        ]
    };
    let example =
        |i: u64, benchmark: &str, question: &str, truth: &str, answers: [&str; 2]| Example {
            image: scene(i, 0.0),
            benchmark: benchmark.to_owned(),
            question: question.to_owned(),
            truth: truth.to_owned(),
            answers: vec![
                ("feedback".into(), answers[0].into()),
                ("no-feedback".into(), answers[1].into()),
            ],
        };
    ReportInput {
        title: "Made-up study: does feedback help the encoder see?".into(),
        results: Results {
            version: "0.1.0".into(),
            commit: Some("3f9c1d2a7b8e4455a0c1d2e3f4a5b6c7d8e9f001".into()),
            seeds: SEEDS.to_vec(),
            steps: 600,
            arms: arms.into_iter().map(|(name, arm)| (name.to_owned(), arm.results)).collect(),
            difference,
        },
        curves: curves(&names),
        stages: vec![(300, "stage 2".into()), (520, "stage 3".into())],
        restorations: (1..=4)
            .map(|i| Restoration {
                label: ["an apple beside two boats", "three cats", "a bus above a clock", "a bicycle on a blue ground"][i as usize - 1].into(),
                input: scene(i, 0.0),
                before: scene(i + 40, 8.0),
                after: after(i),
            })
            .collect(),
        examples: vec![
            example(1, "MMVP · quantity", "How many apples are there? (a) two (b) three", "two", ["two", "(b) three"]),
            example(5, "POPE · adversarial", "Is there a fork in the image? Please answer yes or no.", "no", ["No.", "yes"]),
            example(6, "RobustVQA · R", "Is a sea lion the main object in this image?", "yes", ["no", "Yes"]),
            example(7, "MMVP · position", "Is the <b>boat</b> left or right of the \"house\"?", "left", ["left", ""]),
        ],
        config_toml: "[train]\nlambda_csr = 5.0\nsteps = 600\n\n[model]\nencoder = \"convnext-tiny\" # <small>\n".into(),
        command: "deem reproduce --arms all --seeds 3".into(),
        facts: vec![
            ("\u{3bb} of the feedback".into(), "5, which makes its gradient 41 % of the text gradient".into()),
            ("Machine".into(), "2 cores, no accelerator".into()),
        ],
        limits: vec![
            "Small stand-ins, composed scenes: the size of the effect need not carry over to full-size models and photographs.".into(),
            "The recipe was chosen on validation concepts before these questions were looked at.".into(),
        ],
    }
}
