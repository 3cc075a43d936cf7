//! A short run of everything gives the same bits with every instruction set and any number of threads, and on every
//! processor and system those of `golden/bits.json`.
//!
//! It depends on no preset, no shipped weights and no words, so that only other arithmetic, initial values or random
//! numbers change it. Where that is meant, the file is written anew by
//!
//! ```text
//! DEEM_UPDATE_GOLDEN=1 cargo test --release -p deem-engine --test engine reproducible
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use deem_data::image::{Crop, ImageLimits, ViewConfig, decode_image};
use deem_data::{Batch, BatchImage, Dice, IGNORED};
use deem_engine::generate::{
    ImageOptions, SamplerKind, Sampling, TextOptions, generate_image, generate_text,
    log_likelihoods, restore,
};
use deem_engine::objective::{
    DeemBatch, Draws, LossWeights, NoiseOf, alignment_loss, contrastive, deem_loss,
};
use deem_engine::train::parameters::select;
use deem_engine::train::{AdamW, AdamWConfig, GradientSet, Loss, ParameterGroup, Schedule, Shares};
use deem_kernels::{self as kernels, InstructionSet, Mode, with_instruction_set, with_mode};
use deem_model::autoencoder::Autoencoder;
use deem_model::clip::config::ClipTextConfig;
use deem_model::clip::pyramid::{VisionConfig, VisionTower};
use deem_model::clip::text::ClipText;
use deem_model::deem::{Deem, DeemConfig};
use deem_model::layout::Layout;
use deem_model::scheduler::TimestepSampler;
use deem_model::weights::init::{Fill, initialize};
use deem_model::weights::state;
use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage};
use serde::Deserialize;

/// FNV-1a (Fowler, Noll and Vo) of each part's results, as hexadecimal digits.
type Sums = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Networks {
    model: DeemConfig,
    vit: VisionConfig,
    text: ClipTextConfig,
}

fn networks() -> Networks {
    toml::from_str(include_str!("golden/bits.toml")).expect("networks")
}

/// A checksum of all bits in order.
struct Bits(u64);

impl Bits {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, values: impl IntoIterator<Item = f32>) {
        for value in values {
            self.0 = (self.0 ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn tensor<const D: usize>(&mut self, x: Tensor<D>) {
        self.add(x.into_data().iter::<f32>());
    }

    fn module(&mut self, module: &impl Module) {
        for tensor in state(module) {
            self.add(tensor.values);
        }
    }
}

/// Pictures as a camera leaves them, half of them with a region.
fn pictures() -> Vec<(RgbImage, Option<GrayImage>)> {
    let picture = |number: u32| {
        let (width, height) = (90 - number * 7, 70 + number * 5);
        let drawn = RgbImage::from_fn(width, height, |x, y| {
            let wave = |a: u32, b: u32| ((x * a + y * b + number * 31) % 256) as u8;
            Rgb([wave(3, 1), wave(1, 4), wave(2, 2)])
        });
        let mut jpeg = Cursor::new(Vec::new());
        drawn
            .write_to(&mut jpeg, ImageFormat::Jpeg)
            .expect("a file in memory");
        let picture = decode_image(jpeg.get_ref(), "drawn", ImageLimits::default());
        let mask = GrayImage::from_fn(width, height, |x, y| {
            Luma([u8::from(x > 10 + y / 3 && y > 12)])
        });
        (
            picture.expect("a JPEG"),
            number.is_multiple_of(2).then_some(mask),
        )
    };
    (0..3).map(picture).collect()
}

/// A row of one picture, and a row of two.
fn batch(config: &DeemConfig) -> Batch {
    let tokens = config.tokens;
    let queries = config.image_encoder.queries;
    let seq = 24;
    let views = ViewConfig {
        encoder: config.image_size as u32,
        diffusion: config.diffusion_size as u32,
        crop: Crop::Random(0.6),
    };
    let mut batch = Batch {
        batch: 2,
        seq,
        encoder_side: config.image_size,
        diffusion_side: config.diffusion_size,
        document_starts: vec![(0, 0), (1, 0)],
        masks: Some(Vec::new()),
        ..Batch::default()
    };
    for (index, (picture, mask)) in pictures().iter().enumerate() {
        let mut dice = Dice::new(3, "crop", index as u64);
        let views = views
            .views("drawn", picture, mask.as_ref(), &mut dice)
            .expect("views");
        let area = batch.encoder_side * batch.encoder_side;
        batch.encoder_pixels.extend(views.encoder);
        batch.diffusion_pixels.extend(views.diffusion);
        let mask = views.mask.unwrap_or_else(|| vec![1.0; area]);
        batch.masks.get_or_insert_default().extend(mask);
    }
    for (row, words) in [
        &[Some(5), Some(6), None, Some(7), Some(8), Some(9)][..],
        &[None, Some(10), Some(11), None, Some(12), Some(13), Some(7)],
    ]
    .into_iter()
    .enumerate()
    {
        let mut line = vec![tokens.bos];
        let mut labels = vec![IGNORED];
        for word in words {
            if let Some(word) = word {
                line.push(*word);
                labels.push(*word);
                continue;
            }
            batch.images.push(BatchImage {
                row,
                soi: line.len(),
                document_start: 0,
                counted_nip: true,
                id: String::new(),
            });
            line.push(tokens.soi);
            labels.push(tokens.soi);
            line.extend(std::iter::repeat_n(tokens.image, queries));
            labels.extend(std::iter::repeat_n(IGNORED, queries));
        }
        line.push(tokens.eos);
        labels.push(tokens.eos);
        let length = line.len();
        line.resize(seq, tokens.pad);
        labels.resize(seq, IGNORED);
        batch.tokens.extend(line);
        batch.labels.extend(labels);
        batch
            .valid
            .extend((0..seq).map(|position| position < length));
    }
    batch
}

/// A model whose every part does something.
fn deem(config: &DeemConfig, device: &Device) -> Deem {
    let rules = deem_model::init::rules(config);
    let mut rules: Vec<(&str, Fill)> = rules.iter().map(|(p, f)| (p.as_str(), *f)).collect();
    rules.insert(0, ("gate", Fill::Constant(0.5)));
    rules.insert(0, ("proj_i.weight", Fill::FanIn(1.0)));
    rules.insert(0, ("proj_t.weight", Fill::FanIn(1.0)));
    rules.insert(0, ("mmfs_*conv.weight", Fill::FanIn(1.0)));
    initialize(
        Deem::new(config, device).expect("dimensions that fit"),
        7,
        &rules,
    )
}

/// Trains what the patterns name for some steps; adds losses, gradient norms and the trained module.
fn train<M: Module>(
    mut module: M,
    patterns: &[&str],
    bits: &mut Bits,
    mut loss: impl FnMut(&M, u64) -> Tensor<1>,
) -> M {
    let groups = [ParameterGroup {
        patterns: patterns
            .iter()
            .map(|pattern| (*pattern).to_owned())
            .collect(),
        learning_rate: 1e-3,
        weight_decay: 0.01,
    }];
    let schedule = Schedule {
        steps: 3,
        warmup: 1,
        floor: 0.1,
    };
    let (selected, infos) = select(module, &groups).expect("patterns that match");
    module = selected;
    let mut optimizer = AdamW::new(AdamWConfig::default(), &groups, &infos);
    for step in 0..schedule.steps {
        let total = loss(&module, step);
        let gradients = GradientSet::collect(&module, &total.backward());
        let norm = gradients.norm(|_| true);
        assert!(norm.is_finite() && norm > 0.0, "gradient norm {norm}");
        bits.tensor(total);
        bits.add([norm as f32]);
        module = optimizer.step(module, gradients, norm, step, schedule.factor(step));
    }
    bits.module(&module);
    module
}

/// All stages' losses, and the warm start's.
fn stages(config: &DeemConfig, batch: &Batch, device: &Device, bits: &mut Bits) -> Deem {
    let weights = LossWeights {
        text: 1.0,
        image: 2.0,
        feedback: 5.0,
        timesteps: TimestepSampler::LogitNormal,
        condition_dropout: 0.3,
    };
    let trained = [
        "image_encoder.*",
        "image_decoder.*",
        "text_decoder.*",
        "soi_token",
        "llama.*",
    ];
    train(deem(config, device), &trained, bits, |model, step| {
        let batch = DeemBatch::new(batch, model, device);
        let noise = NoiseOf {
            seed: 5,
            first_row: step,
        };
        let encoded = batch.encode(model).expect("pictures");
        let terms = deem_loss(model, &batch, Some(&encoded), &weights, noise, device);
        let (layout, labels) = (&batch.layout, &batch.host.labels);
        let mut weighted = terms.weighted(&weights);
        let align = alignment_loss(model, layout, labels, &encoded, device);
        weighted.push(("align", 1.0, align));
        Loss::sum(weighted, &Shares::whole(), device).total
    })
}

/// Pre-training of an image and a text tower.
fn towers(networks: &Networks, batch: &Batch, device: &Device, bits: &mut Bits) {
    let count = batch.images.len();
    let side = batch.encoder_side;
    let pixels = TensorData::new(batch.encoder_pixels.clone(), [count, 3, side, side]);
    let pixels = Tensor::<4>::from_data(pixels, device);
    let ids: Vec<i64> = (0..count as i64)
        .flat_map(|text| [1, 5 + text, 9, 20 - text, 47])
        .collect();
    let ids = Layout::int(ids, [count, 5], device);
    for vision in [&networks.model.image_encoder.vision, &networks.vit] {
        let text = ClipText::new(&networks.text, device).with_projection(&networks.text, device);
        let both = (VisionTower::new(vision, device), text);
        let patterns = ["*"];
        train(
            initialize(both, 3, &[]),
            &patterns,
            bits,
            |(vision, text), _| {
                let images = vision.image_embeds(pixels.clone()).expect("a projection");
                let texts = text
                    .forward(ids.clone(), None)
                    .text_embeds
                    .expect("a projection");
                let scale = kernels::exp(Tensor::<1>::from_floats([2.0], device));
                let mut duplicates = vec![false; count * count];
                duplicates[1] = true;
                let pyramid = kernels::mean(vision.forward(pixels.clone()).levels.c2.square());
                contrastive(images, texts, scale, &duplicates, device) + pyramid
            },
        );
    }
}

/// Pre-training of the latent space.
fn autoencoder(config: &DeemConfig, batch: &Batch, device: &Device, bits: &mut Bits) {
    let (count, side) = (batch.images.len(), batch.diffusion_side);
    let pixels = TensorData::new(batch.diffusion_pixels.clone(), [count, 3, side, side]);
    let pixels = Tensor::<4>::from_data(pixels, device)
        .mul_scalar(2.0)
        .sub_scalar(1.0);
    let model = initialize(Autoencoder::new(&config.autoencoder, device), 2, &[]);
    train(model, &["*"], bits, |model, step| {
        let posterior = model.encode(pixels.clone());
        let noise = Draws::new(1, step).noise(posterior.mean.dims(), device);
        let difference = model.decode(posterior.sample(noise)) - pixels.clone();
        kernels::mean(difference.clone().abs()) + kernels::mean(difference.square())
    });
}

/// Answers, likelihoods and pictures of a trained model.
fn evaluation(model: &Deem, batch: &Batch, bits: &mut [Bits; 2]) {
    let device = Device::flex();
    let host = DeemBatch::new(batch, model, &device);
    let encoded = host.encode(model).expect("pictures");
    let [text, drawn] = bits;
    let likelihoods = log_likelihoods(model, &host.layout, Some(&encoded), &batch.labels, &device);
    text.add(likelihoods.into_iter().map(|value| value as f32));
    for sampling in [
        Sampling::Greedy,
        Sampling::Nucleus {
            temperature: 0.9,
            top_p: 0.95,
            seed: 4,
        },
    ] {
        let options = TextOptions {
            sampling,
            min_new_tokens: 6,
            ..TextOptions::longest(6)
        };
        for answer in generate_text(
            model,
            None,
            &model.layout(&[1, 5, 9, 1, 7, 8], 2),
            None,
            &options,
        ) {
            text.add(answer.first_logits);
            text.add(answer.tokens.into_iter().map(f32::from_bits));
        }
    }
    let beams = TextOptions {
        beams: 3,
        min_new_tokens: 3,
        ..TextOptions::longest(4)
    };
    for answer in generate_text(model, None, &model.layout(&[1, 5, 9], 1), None, &beams) {
        text.add(answer.tokens.into_iter().map(f32::from_bits));
    }
    for sampler in [SamplerKind::Ddim, SamplerKind::DpmSolver] {
        let options = ImageOptions {
            steps: 4,
            guidance: 2.5,
            sampler,
            seed: 6,
        };
        let context = [1, 5, 6, model.tokens().soi];
        drawn.tensor(
            generate_image(model, &context, None, &options, &mut |_, _| true).expect("a picture"),
        );
        let targets = host.targets.clone().expect("diffusion views");
        drawn.tensor(
            restore(model, &encoded, targets, 0.7, &options, &mut |_, _| true).expect("pictures"),
        );
    }
}

fn everything() -> Sums {
    let device = Device::flex().autodiff();
    let networks = networks();
    let batch = batch(&networks.model);
    let [mut views, mut stage, mut tower, mut latent] = [(); 4].map(|()| Bits::new());
    let mut used = [(); 2].map(|()| Bits::new());
    views.add(batch.encoder_pixels.clone());
    views.add(batch.diffusion_pixels.clone());
    views.add(batch.masks.clone().expect("regions"));
    let model = stages(&networks.model, &batch, &device, &mut stage);
    towers(&networks, &batch, &device, &mut tower);
    autoencoder(&networks.model, &batch, &device, &mut latent);
    evaluation(&model.valid(), &batch, &mut used);
    let [text, drawn] = used;
    [
        ("views of JPEG files", views),
        (
            "training: text, image, feedback and alignment losses",
            stage,
        ),
        ("training: contrastive loss of both towers", tower),
        ("training: autoencoder", latent),
        ("answers and likelihoods", text),
        ("pictures", drawn),
    ]
    .map(|(part, bits)| (part.to_owned(), format!("{:016x}", bits.0)))
    .into()
}

#[test]
fn a_short_run_gives_the_same_bits_everywhere() {
    let mut first: Option<(String, Sums)> = None;
    for (threads, set) in [1, 2, 4]
        .into_iter()
        .flat_map(|threads| InstructionSet::available().map(move |set| (threads, set)))
    {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().expect("threads");
        // What is promised is promised of the fused kernels.
        let fast = || with_mode(Mode::Fast, everything);
        let found = pool.install(|| with_instruction_set(set, fast));
        let (how, found) = (
            format!("{set}, {threads} threads"),
            found.expect("available"),
        );
        let (other, expected) = first.get_or_insert_with(|| (how.clone(), found.clone()));
        assert_eq!(&found, expected, "{how} (left) against {other}");
    }
    let (_, found) = first.expect("at least one run");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bits.json");
    if std::env::var_os("DEEM_UPDATE_GOLDEN").is_some() {
        let text = serde_json::to_string_pretty(&found).expect("text");
        fs::write(&path, text + "\n").expect("the golden file");
    }
    let golden: Sums = serde_json::from_str(&fs::read_to_string(&path).expect("the golden file"))
        .expect("checksums");
    assert_eq!(
        found, golden,
        "this machine (left) against golden/bits.json; if other arithmetic is meant, see the head of this test"
    );
}
