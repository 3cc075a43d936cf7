//! A made-up study, for the tests and for looking at the page. No figure here was measured.

use deem_metrics::figures::{Counts, Family, Figure, Paired, Part, Unit};
use deem_metrics::statistics::Interval;
use image::{Rgb, RgbImage};

use crate::{
    Answer, ArmResults, Comparison, Curve, Example, Level, Published, Report, Restoration, Results,
    Stage, Term,
};

const SEEDS: [u64; 3] = [1, 2, 3];

/// A benchmark: name, title, what it measures, its main figure with what guessing gets, and its parts.
type Benchmark = (
    &'static str,
    &'static str,
    &'static str,
    (&'static str, f64),
    &'static [(&'static str, f64)],
);

/// What an arm without any gain scores.
const BENCHMARKS: [Benchmark; 4] = [
    (
        "mmvp",
        "MMVP",
        "perception: sees what two look-alikes differ in",
        ("pair_accuracy", 25.0),
        &[
            ("all", 28.0),
            ("background", 62.0),
            ("colour", 16.0),
            ("orientation", 10.0),
            ("position", 24.0),
            ("presence", 33.0),
            ("quantity", 27.0),
        ],
    ),
    (
        "pope",
        "POPE",
        "hallucination: knows what is not there",
        ("accuracy", 50.0),
        &[
            ("mean", 71.0),
            ("random", 78.0),
            ("popular", 72.0),
            ("adversarial", 64.0),
        ],
    ),
    (
        "robust_vqa",
        "RobustVQA",
        "robustness: A hard images, R unknown styles, V a fresh draw",
        ("accuracy", 50.0),
        &[("mean", 60.0), ("A", 55.0), ("R", 58.0), ("V", 66.0)],
    ),
    // No benchmark that this project has: it must appear all the same.
    (
        "counting",
        "Counting & <more>",
        "counts what is there",
        ("within_one", 12.5),
        &[("all", 41.0)],
    ),
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

fn around(mean: f64, half: f64) -> Interval {
    Interval {
        mean,
        low: mean - half,
        high: mean + half,
    }
}

/// All benchmarks as an arm scores them that gains so many points, more in some parts than in others.
fn families(gain: f64) -> Vec<Family> {
    let mut numbers = Numbers(17);
    let mut families: Vec<Family> = BENCHMARKS
        .iter()
        .map(|(name, title, about, (figure, chance), parts)| {
            let parts = parts.iter().map(|(part, plain)| {
                let mean = plain + gain * (0.3 + 1.4 * numbers.next());
                let spread = [-1.3, 0.1, 1.5];
                let main = Figure {
                    chance: Some(*chance),
                    per_seed: SEEDS.into_iter().zip(spread.map(|s| mean + s)).collect(),
                    ..Figure::new(*figure, around(mean, 3.0), Unit::Percent)
                };
                let ratio = Figure::plain("yes_ratio", 47.0, Unit::Percent).titled("answered yes");
                Part::new(*part, [main, ratio])
            });
            Family {
                counts: Some(Counts {
                    samples: 600,
                    unreadable: 0,
                    unparseable: 7,
                }),
                parts: parts.collect(),
                ..Family::new(*name, *title).about(*about)
            }
        })
        .collect();
    let cider = Figure::new("cider", around(84.0 + gain, 5.0), Unit::Score).titled("CIDEr");
    let exact = Figure::new("exact", around(31.0, 3.5), Unit::Percent).titled("exact match");
    families.push(Family {
        parts: vec![Part::new("all", [cider, exact])],
        ..Family::new("region", "Regions")
    });
    families
}

fn arm(name: &str, gain: f64) -> ArmResults {
    let accuracy = |mean| Figure::new("accuracy", around(mean, 4.0), Unit::Percent);
    let mut costs = vec![
        Figure::plain("seconds_per_step", 0.734, Unit::Seconds),
        Figure::plain("trainable_parameters", 3_481_216.0, Unit::Count),
    ];
    if name == "feedback" {
        let ratio = Figure::plain("gradient_ratio", 0.412, Unit::Ratio);
        costs.push(ratio.titled("gradient ratio, feedback / text"));
    }
    ArmResults {
        name: name.into(),
        families: families(gain),
        controls: vec![Family {
            parts: vec![
                Part::new("own images", [accuracy(61.0 + gain)]),
                Part::new("images of other questions", [accuracy(33.5)]),
            ],
            ..Family::new("attribute_questions", "Attribute questions").about(
                "if answers did not depend on the image, exchanging images would cost nothing",
            )
        }],
        costs,
    }
}

fn comparison(treatment: &ArmResults, control: &ArmResults) -> Comparison {
    let differences = treatment.families.iter().zip(&control.families);
    let families = differences.map(|(ours, theirs)| {
        let parts = ours.parts.iter().zip(&theirs.parts).map(|(ours, theirs)| {
            let (first, second) = (&ours.figures[0], &theirs.figures[0]);
            let unit = match first.unit {
                Unit::Percent => Unit::Points,
                unit => unit,
            };
            let interval = around(first.mean - second.mean, 4.0);
            let figure = Figure {
                title: first.title.clone(),
                paired: Some(Paired {
                    p_value: Some(if interval.low > 0.0 { 0.0002 } else { 0.21 }),
                    questions: 1260,
                    clusters: 210,
                    seeds: 3,
                    wins: 210,
                    losses: 84,
                    detectable: Some(5.7),
                    mcnemar: None,
                }),
                ..Figure::new(&first.name, interval, unit)
            };
            Part::new(&ours.name, [figure])
        });
        Family {
            counts: None,
            parts: parts.collect(),
            ..ours.clone()
        }
    });
    Comparison::new(&treatment.name, &control.name, families.collect())
}

/// A scene of coloured shapes on a coloured ground, out of focus by `blur` pixels.
fn scene(start: u64, blur: f32) -> RgbImage {
    const SIDE: u32 = 96;
    let mut numbers = Numbers(start * 7919 + 17);
    let mut colour = |bright: f64| {
        Rgb([0, 1, 2].map(|_| (255.0 * (bright + (1.0 - bright) * numbers.next())) as u8))
    };
    let ground = colour(0.75);
    let shapes: Vec<([f64; 3], Rgb<u8>)> = (0..3)
        .map(|_| {
            let colour = colour(0.1);
            let [x, y, size] = colour.0.map(|v| f64::from(v) / 255.0);
            ([18.0 + 60.0 * x, 18.0 + 60.0 * y, 9.0 + 9.0 * size], colour)
        })
        .collect();
    let sharp = RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let within = |[cx, cy, r]: [f64; 3]| (f64::from(x) - cx).hypot(f64::from(y) - cy) < r;
        let hit = shapes.iter().find(|(circle, _)| within(*circle));
        hit.map_or(ground, |shape| shape.1)
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
                let value = |i: u32, n: f64| {
                    to + (from - to) * (-f64::from(i) / 90.0).exp() + noise * (n - 0.5)
                };
                let points = (0..600).map(|i| (f64::from(i), value(i, numbers.next())));
                curves.push(Curve {
                    arm: (*arm).to_owned(),
                    seed,
                    term: term.to_owned(),
                    points: points.collect(),
                });
            };
            curve("L_NTP", 2.4, 0.62 + 0.04 * a as f64, 0.12);
            curve("temperature", 0.30, 0.21, 0.04);
            if *arm == "feedback" {
                curve("L_CSR", 0.34, 0.17, 0.03);
                curve("gradient_ratio", 0.75, 0.40, 0.1);
            }
        }
    }
    curves
}

/// The whole made-up study.
pub(crate) fn sample() -> Report {
    let arms = [
        arm("feedback", 9.0),
        arm("no-feedback", 0.0),
        arm("paper-baseline <script>alert(1)</script>", -2.0),
    ];
    let example =
        |i: u64, benchmark: &str, question: &str, truth: &str, said: [(&str, bool); 2]| {
            let answers = ["feedback", "no-feedback"].into_iter().zip(said);
            Example {
                image: scene(i, 0.0),
                benchmark: benchmark.to_owned(),
                question: question.to_owned(),
                truth: truth.to_owned(),
                answers: answers
                    .map(|(arm, (text, right))| Answer {
                        arm: arm.into(),
                        text: text.into(),
                        right,
                    })
                    .collect(),
            }
        };
    let restorations = [
        "an apple beside two boats",
        "three cats",
        "a bus above a clock",
        "a bicycle on a blue ground",
    ];
    let term = |name: &str, note: &str| Term {
        name: name.into(),
        note: note.into(),
    };
    let stage = |name: &str, step| Stage {
        name: name.into(),
        step,
    };
    let names: Vec<&str> = arms.iter().map(|arm| arm.name.as_str()).collect();
    Report {
        title: "Made-up study: does feedback help the encoder see?".into(),
        subject: "Diffusion feedback for a vision-language model".into(),
        published: vec![Published {
            family: "mmvp".into(),
            source: "The paper, at full size".into(),
            value: 6.5,
        }],
        curves: curves(&names),
        terms: vec![
            term("L_NTP", "next token"),
            term("L_CSR", "restoring the image"),
            term("gradient_ratio", "feedback over text, at the encoder"),
        ],
        levels: [(0.14, "told everything in words"), (0.36, "told nothing")]
            .map(|(value, note)| Level {
                term: "L_CSR".into(),
                value,
                note: note.into(),
            })
            .to_vec(),
        stages: vec![stage("stage 1", 0), stage("stage 2", 300), stage("stage 3", 520)],
        restorations: (1..)
            .zip(restorations)
            .map(|(i, label)| Restoration {
                label: label.into(),
                input: scene(i, 0.0),
                before: scene(i + 40, 8.0),
                after: vec![
                    ("feedback".into(), scene(i, 2.0)),
                    ("no-feedback".into(), scene(i, 6.0)),
                ],
            })
            .collect(),
        examples: vec![
            example(1, "mmvp/quantity", "How many apples are there? (a) two (b) three", "(a) two", [("two", true), ("(b) three", false)]),
            example(5, "pope/adversarial", "Is there a fork in the image? Please answer yes or no.", "no", [("No.", true), ("yes", false)]),
            example(6, "robust_vqa/R", "Is a sea lion the main object in this image?", "yes", [("no", false), ("Yes", true)]),
            example(7, "mmvp/position", "Is the <b>boat</b> left or right of the \"house\"?", "left", [("left", true), ("", false)]),
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
        results: Results {
            version: "0.1.0".into(),
            commit: "3f9c1d2a7b8e4455a0c1d2e3f4a5b6c7d8e9f001+".into(),
            seeds: SEEDS.to_vec(),
            steps: 600,
            difference: arms[1..].iter().map(|control| comparison(&arms[0], control)).collect(),
            arms: arms.to_vec(),
        },
    }
}
