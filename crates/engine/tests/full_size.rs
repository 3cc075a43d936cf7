//! The shipped full-size configurations, against the paper's parameter counts. Nothing is allocated.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use deem_engine::encoder_feedback::FeedbackRun;
use deem_engine::run_config::RunConfig;
use deem_engine::train::parameters::{ComponentCount, by_component, prepare, select};
use deem_model::checkpointing::CheckpointBlocks;
use deem_model::deem::Deem;
use deem_model::encoder_feedback::FeedbackModel;

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs")
}

fn read(name: &str) -> RunConfig {
    RunConfig::read(&configs().join(name), &[]).unwrap_or_else(|error| panic!("{error}"))
}

fn counts(name: &str) -> Vec<ComponentCount> {
    let run = read(name);
    let model = Deem::new(run.model.as_ref().unwrap(), &Device::flex()).unwrap();
    let (_, parameters) = select(model, &run.stage.train.groups).unwrap();
    by_component(&parameters)
}

/// Trained parameters in millions.
fn trained(counts: &[ComponentCount]) -> f64 {
    counts.iter().map(|count| count.trainable).sum::<usize>() as f64 / 1e6
}

fn close(found: f64, paper: f64, tolerance: f64) {
    let off = (found / paper - 1.0).abs();
    assert!(off < tolerance, "{found} M, the paper has {paper} M");
}

/// DEEM's figures (paper, Table 1 and spec: parameter counts).
#[test]
fn stage_1_trains_what_the_paper_trains() {
    let counts = counts("deem-7b-stage1.toml");
    close(trained(&counts), 494.9, 0.005);
    for (name, millions) in [
        ("image_encoder.vision", 92.72),
        ("image_encoder.resampler", 101.60),
        ("image_decoder.synchronizer", 56.98),
        ("llama.mmfs", 200.46),
        ("image_decoder.resampler", 20.99),
    ] {
        let count = counts.iter().find(|count| count.name == name).unwrap();
        assert_eq!(count.total, count.trainable, "{name} is trained as a whole");
        close(count.trainable as f64 / 1e6, millions, 0.001);
    }
    for name in ["llama", "unet", "autoencoder"] {
        let count = counts.iter().find(|count| count.name == name).unwrap();
        assert_eq!(count.trainable, 0, "{name} is frozen");
    }
}

#[test]
fn the_baseline_trains_the_unet_instead_of_the_encoder() {
    let counts = counts("deem-7b-baseline.toml");
    close(trained(&counts), 1271.0, 0.005);
    let unet = counts.iter().find(|count| count.name == "unet").unwrap();
    assert_eq!(unet.trainable, unet.total);
    close(unet.total as f64 / 1e6, 865.91, 0.001);
}

/// The public sizes of the foundation models: Vicuna-7B and 13B, Stable Diffusion's autoencoder.
#[test]
fn foundation_models_have_their_published_sizes() {
    let total = |counts: &[ComponentCount], name: &str| {
        counts.iter().find(|c| c.name == name).unwrap().total as f64 / 1e6
    };
    let small = counts("deem-7b-stage1.toml");
    close(total(&small, "llama"), 6738.4, 0.0001);
    close(total(&small, "autoencoder"), 83.65, 0.001);
    let large = counts("deem-13b-stage1.toml");
    close(total(&large, "llama"), 13015.9, 0.0001);
}

/// Every file is complete and every pattern in it means something; the recipe is the paper's.
#[test]
fn every_shipped_configuration_is_usable() {
    let mut seen = 0;
    let names: Vec<String> = std::fs::read_dir(configs())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !FeedbackRun::is(&configs().join(name)).unwrap())
        .filter(|name| {
            !["photos-", "encoder-study-"]
                .iter()
                .any(|of| name.starts_with(of))
        })
        .collect();
    for name in names.clone() {
        assert!(trained(&counts(&name)) > 100.0, "{name}");
        let run = read(&name);
        assert_eq!(run.max_tokens, Some(2048), "{name}");
        assert_eq!(run.stage.train.schedule.steps, 10_000, "{name}");
        assert!(run.weights.is_some(), "{name}");
        let model = run.model.as_ref().unwrap();
        assert_eq!(model.checkpoint_blocks, CheckpointBlocks::ALL, "{name}");
        seen += 1;
    }
    assert!(seen >= 6);
    // Nothing of full size learns from drawings unless asked.
    for name in names {
        let data = read(&name).stage.data;
        assert!(
            !data.is_empty() && data.iter().all(|source| source.kind != "world"),
            "{name}"
        );
    }
    let lambda = |name: &str| {
        let loss = read(name).stage.loss;
        (loss.image, loss.feedback)
    };
    assert_eq!(lambda("deem-7b-stage1.toml"), (5.0, 5.0));
    assert_eq!(lambda("deem-7b-stage2.toml"), (0.0, 5.0));
    assert_eq!(lambda("deem-7b-stage3.toml"), (0.0, 0.0));
    assert_eq!(lambda("deem-7b-baseline.toml"), (5.0, 0.0));
}

/// The runs on photographs: of one model, each with patterns that mean something.
#[test]
fn the_stages_on_photographs_are_usable() {
    let stages = [1, 2, 3].map(|stage| read(&format!("photos-stage{stage}.toml")));
    for run in &stages {
        let model = Deem::new(run.model.as_ref().unwrap(), &Device::flex()).unwrap();
        let (_, parameters) = prepare(model, &run.stage.train, 0).unwrap();
        let trained: usize = by_component(&parameters).iter().map(|c| c.trainable).sum();
        assert!(trained > 1_000_000, "{}: {trained}", run.stage.name);
        assert_eq!(run.model, stages[0].model, "{}", run.stage.name);
    }
    let names = stages.each_ref().map(|run| run.stage.name.as_str());
    assert_eq!(names, ["stage1", "stage2", "stage3"]);
}

/// The corrections of bare encoders: complete, with patterns that mean something, and of the published sizes.
#[test]
fn every_shipped_correction_is_usable() {
    let entries = std::fs::read_dir(configs()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut seen = Vec::new();
    for path in paths.filter(|path| FeedbackRun::is(path).unwrap()) {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let run = FeedbackRun::read(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(run.stages.len(), 2, "{name}");
        let counts = |stage: usize| {
            let model = FeedbackModel::new(&run.model, &Device::flex()).unwrap();
            let train = &run.stages[stage].train;
            let (_, infos) = prepare(model, train, 0).unwrap_or_else(|e| panic!("{name}: {e}"));
            by_component(&infos)
        };
        let (first, second) = (counts(0), counts(1));
        let of = |counts: &[ComponentCount], part: &str| {
            let found = counts.iter().find(|count| count.name == part).unwrap();
            (found.total, found.trainable)
        };
        let siglip = name.starts_with("siglip");
        let published = if siglip {
            427.5e6..429.0e6
        } else {
            303.5e6..305.0e6
        };
        let (tower, none) = of(&first, "vision_model");
        assert!(published.contains(&(tower as f64)), "{name}: {tower}");
        assert_eq!(none, 0, "{name}: the encoder stays in the first stage");
        assert!(of(&first, "projection").1 > 0, "{name}");
        // Rank 16 on all linear layers: (in + out) for each of 24 x 6, and the projection; SigLIP's pooling is like a layer.
        let adapters = if siglip {
            16 * (27 + 1) * (4 * (1152 + 1152) + 2 * (1152 + 4304))
        } else {
            16 * (24 * (4 * (1024 + 1024) + 2 * (1024 + 4096)) + 1024 + 768)
        };
        assert_eq!(
            of(&second, "vision_model"),
            (tower + adapters, adapters),
            "{name}"
        );
        let trained: usize = second.iter().map(|count| count.trainable).sum();
        assert_eq!(trained, adapters, "{name}");
        if !run.model.fresh_denoiser {
            assert_eq!(
                of(&first, "unet"),
                (865_910_724, 0),
                "{name}: Stable Diffusion 2.1"
            );
        }
        seen.push(name);
    }
    assert!(seen.len() >= 5, "{seen:?}");
}
