//! Interrupted and resumed runs equal uninterrupted ones, bit for bit, in every stage.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use deem_data::image::ImageLimits;
use deem_data::source::{Source, SourceContext, SourceKind, SourceRegistry, SourceSpec};
use deem_data::text::TextTokenizer;
use deem_data::world::source::Task as Purpose;
use deem_data::{Batch, DataError, Sample, world::World};
use deem_engine::batches::stage_batches;
use deem_engine::config::{ModelSpec, StageConfig};
use deem_engine::foundation::replace;
use deem_engine::task::DeemTask;
use deem_engine::train::{
    BatchFile, Checkpoint, Run, RunIdentity, Silent, TrainConfig, finished, read_metrics, replay,
    train,
};
use deem_engine::{Compute, EngineError, Precision, RunLock};
use deem_model::weights::{WeightsFile, state};
use serde_json::Value;

use crate::common;

fn config(preset: &common::Preset, stage: usize) -> TrainConfig {
    let mut config = preset.stages[stage].train.clone();
    config.schedule.steps = 4;
    config.schedule.warmup = 1;
    config.save_every = 1;
    config.probe_every = 2;
    config
}

/// A stage of the preset as [`common::task`] trains it.
fn stage_of(preset: &common::Preset, stage: usize, config: &TrainConfig) -> StageConfig {
    StageConfig {
        batch: 6,
        train: config.clone(),
        ..preset.stages[stage].clone()
    }
}

fn spec(preset: &common::Preset) -> ModelSpec {
    ModelSpec {
        max_tokens: preset.max_tokens,
        model: preset.model.clone(),
    }
}

fn run(preset: &common::Preset, stage: usize, config: &TrainConfig, folder: &Path) -> Run {
    let stage = stage_of(preset, stage, config);
    let identity = RunIdentity {
        seed: 5,
        sample_seed: 3,
        ..RunIdentity::of_stage(&stage, &spec(preset))
    };
    Run::new(identity, folder)
}

fn losses(run: &Path) -> Vec<Value> {
    let lines = read_metrics(&run.join("metrics.jsonl")).unwrap();
    lines.iter().map(|line| line["loss"].clone()).collect()
}

fn weights(model: &deem_model::deem::Deem) -> Vec<Vec<f32>> {
    state(model).into_iter().map(|t| t.values).collect()
}

fn resumed_equals_uninterrupted(stage: usize, precision: Precision) {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let mut task = common::task(&preset, stage, &device);
    task.precision = precision;
    let config = config(&preset, stage);
    let dir = tempfile::tempdir().unwrap();
    let start = || common::model(&preset, &device);

    let whole = run(&preset, stage, &config, &dir.path().join("whole"));
    let expected = train(&task, start(), &whole, &mut Silent).unwrap();

    let mut parts = run(&preset, stage, &config, &dir.path().join("parts"));
    parts.identity.train.workers = 1;
    let mut stop = common::StopAfter::new(2);
    let stopped = train(&task, start(), &parts, &mut stop);
    assert!(matches!(stopped, Err(EngineError::Interrupted { step: 2 })));
    // A crash in the middle of writing the next checkpoint must not matter.
    let part = parts.folder.join("checkpoint.part");
    fs::create_dir(&part).unwrap();
    fs::write(part.join("model.safetensors"), "half").unwrap();
    // Nor must what is listed as free to differ.
    parts.identity.train.workers = 3;
    parts.identity.train.save_every = 100;
    parts.identity.train.probe_every = 0;
    assert_eq!(finished(&parts).unwrap(), None);
    let resumed = train(&task, start(), &parts, &mut Silent).unwrap();

    assert_eq!(losses(&whole.folder).len(), 4);
    assert_eq!(losses(&whole.folder), losses(&parts.folder));
    assert!(
        weights(&expected.model) == weights(&resumed.model),
        "weights differ"
    );
    assert_eq!(finished(&parts).unwrap(), Some(resumed.weights));
}

#[test]
fn stage_1_resumes_exactly() {
    resumed_equals_uninterrupted(0, Precision::F32);
}

#[test]
fn stage_2_resumes_exactly() {
    resumed_equals_uninterrupted(1, Precision::F32);
}

#[test]
fn stage_3_resumes_exactly() {
    resumed_equals_uninterrupted(2, Precision::F32);
}

/// The checkpoint holds the trained weights in 32 bits.
#[test]
fn training_in_16_bits_resumes_exactly() {
    resumed_equals_uninterrupted(0, Precision::Bf16);
}

#[test]
fn a_directory_of_another_run_is_refused() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let task = common::task(&preset, 1, &device);
    let mut config = config(&preset, 1);
    config.schedule.steps = 1;
    let dir = tempfile::tempdir().unwrap();
    let start = || common::model(&preset, &device);
    let mut one = run(&preset, 1, &config, dir.path());
    one.config = Some("batch = 6\n".into());
    train(&task, start(), &one, &mut Silent).unwrap();
    let mut two = one.clone();
    two.identity.loss.as_mut().unwrap().feedback = 7.0;
    two.identity.batch = 7;
    two.identity.data[0].weight = 2.0;
    two.config = Some("batch = 7\n".into());
    let error = train(&task, start(), &two, &mut Silent).err().unwrap();
    let error = error.to_string();
    for said in [
        "another configuration",
        "batch: 6 there, 7 now",
        "loss.feedback: 0.0 there, 7.0 now",
        "data[0].weight: nothing there, 2.0 now",
    ] {
        assert!(error.contains(said), "{error}");
    }
    let kept = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(kept("config.toml"), "batch = 6\n");
    let identity: RunIdentity = serde_json::from_str(&kept("run.json")).unwrap();
    assert_eq!(identity.batch, 6);
}

#[test]
fn descriptions_are_those_of_what_runs() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let task = common::task(&preset, 1, &device);
    let mut config = config(&preset, 1);
    config.schedule.steps = 1;
    let dir = tempfile::tempdir().unwrap();
    for save_every in [1, 9] {
        config.save_every = save_every;
        let mut run = run(&preset, 1, &config, dir.path());
        run.config = Some(format!("save_every = {save_every}\n"));
        let model = common::model(&preset, &device);
        train(&task, model, &run, &mut Silent).unwrap();
        let kept = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(kept("config.toml"), run.config.unwrap());
        let identity: RunIdentity = serde_json::from_str(&kept("run.json")).unwrap();
        assert_eq!(identity.train.save_every, save_every);
    }
}

#[test]
fn a_rate_that_stays_can_be_extended() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let task = common::task(&preset, 1, &device);
    let mut config = config(&preset, 1);
    config.schedule.floor = 1.0;
    config.schedule.steps = 3;
    let dir = tempfile::tempdir().unwrap();
    let start = || common::model(&preset, &device);
    let whole = run(&preset, 1, &config, &dir.path().join("whole"));
    let whole = train(&task, start(), &whole, &mut Silent).unwrap();
    config.schedule.steps = 2;
    let short = run(&preset, 1, &config, &dir.path().join("extended"));
    train(&task, start(), &short, &mut Silent).unwrap();
    config.schedule.steps = 3;
    let longer = run(&preset, 1, &config, &short.folder);
    let extended = train(&task, start(), &longer, &mut Silent).unwrap();
    assert!(weights(&whole.model) == weights(&extended.model));
    let error = train(&task, start(), &short, &mut Silent).err().unwrap();
    let error = error.to_string();
    assert!(
        error.contains("train.schedule.steps: 3 there, 2 now"),
        "{error}"
    );
}

#[test]
fn a_directory_in_use_is_refused() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let task = common::task(&preset, 1, &device);
    let dir = tempfile::tempdir().unwrap();
    let _other = RunLock::acquire(dir.path()).unwrap();
    let model = common::model(&preset, &device);
    let run = run(&preset, 1, &config(&preset, 1), dir.path());
    let error = train(&task, model, &run, &mut Silent).err().unwrap();
    assert!(matches!(error, EngineError::Locked { .. }), "{error}");
}

#[test]
fn a_checkpoint_holds_what_earlier_stages_trained() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let dir = tempfile::tempdir().unwrap();
    let base = || common::model(&preset, &device);
    let mut before: Option<PathBuf> = None;
    let mut keys: Vec<Vec<String>> = Vec::new();
    for stage in [0, 1] {
        let mut task = common::task(&preset, stage, &device);
        // What is frozen is kept in 16 bits while it is not trained; the result must not be.
        task.precision = Precision::Bf16;
        let mut config = config(&preset, stage);
        config.schedule.steps = 1;
        let folder = dir.path().join(format!("stage{stage}"));
        let mut run = run(&preset, stage, &config, &folder);
        run.carried.extend(before.clone());
        let model = match &before {
            Some(path) => replace(base(), path).unwrap(),
            None => base(),
        };
        let trained = train(&task, model, &run, &mut Silent).unwrap();
        let file = WeightsFile::open(&trained.weights).unwrap();
        keys.push(file.keys().map(str::to_owned).collect());
        if let Some(before) = &before {
            let earlier = WeightsFile::open(before).unwrap();
            for key in keys[0]
                .iter()
                .filter(|key| key.starts_with("image_decoder."))
            {
                assert!(file.bytes(key) == earlier.bytes(key), "{key}");
            }
            // On top of the base weights it is the complete result.
            let complete = replace(base(), &trained.weights).unwrap();
            let direct = replace(replace(base(), before).unwrap(), &trained.weights).unwrap();
            assert!(weights(&complete) == weights(&direct));
        }
        before = Some(trained.weights);
    }
    assert!(keys[0].iter().any(|key| key.starts_with("image_decoder.")));
    assert!(keys[0].iter().all(|key| keys[1].contains(key)));
    assert!(keys[1].len() > keys[0].len());
}

#[test]
fn a_damaged_checkpoint_is_named() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let task = common::task(&preset, 1, &device);
    let mut config = config(&preset, 1);
    config.schedule.steps = 1;
    let dir = tempfile::tempdir().unwrap();
    let run = run(&preset, 1, &config, dir.path());
    let start = || common::model(&preset, &device);
    let trained = train(&task, start(), &run, &mut Silent).unwrap();
    let mut bytes = fs::read(&trained.weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&trained.weights, bytes).unwrap();
    let error = train(&task, start(), &run, &mut Silent).err().unwrap();
    let error = error.to_string();
    assert!(
        error.contains("checkpoint/model.safetensors") && error.contains("checksum"),
        "{error}"
    );
}

#[test]
fn settings_that_cannot_be_meant_are_errors() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let task = common::task(&preset, 1, &device);
    let dir = tempfile::tempdir().unwrap();
    let refused = |change: &dyn Fn(&mut TrainConfig)| {
        let mut config = config(&preset, 1);
        change(&mut config);
        let run = run(&preset, 1, &config, dir.path());
        let model = common::model(&preset, &device);
        let error = train(&task, model, &run, &mut Silent).err().unwrap();
        error.to_string()
    };
    for (change, said) in [
        (
            (&|config: &mut TrainConfig| config.groups[0].patterns = vec!["lama.*".into()])
                as &dyn Fn(&mut TrainConfig),
            "\"lama.*\" matches no parameter",
        ),
        (&|config| config.workers = 0, "train.workers"),
        (&|config| config.accumulate = 0, "train.accumulate"),
        (
            &|config| config.optimizer.clip = f64::NAN,
            "train.optimizer.clip",
        ),
    ] {
        let error = refused(change);
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_loss_that_is_not_a_number_stops_and_its_batch_can_be_computed_again() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let task = common::task(&preset, 1, &device);
    let mut config = config(&preset, 1);
    for group in &mut config.groups {
        group.learning_rate = 1e30;
    }
    config.optimizer.clip = f64::INFINITY;
    let dir = tempfile::tempdir().unwrap();
    let run = run(&preset, 1, &config, dir.path());
    let start = || common::model(&preset, &device);
    let error = train(&task, start(), &run, &mut Silent).err().unwrap();
    let EngineError::NotFinite { saved, step, .. } = &error else {
        panic!("{error}");
    };
    assert!(error.to_string().contains("--replay"), "{error}");
    let (file, batch) = BatchFile::read::<Batch>(saved).unwrap();
    let expected = task.batches.get(file.piece.index).unwrap();
    assert!(batch == expected, "another batch was saved");
    assert_eq!(file.texts.len(), batch.batch);
    assert!(file.texts[0].contains(' '), "{:?}", file.texts);
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    assert!(size(saved) < 100_000, "{}", size(saved));
    assert!(size(&saved.with_extension("safetensors")) > size(saved));

    // The weights that broke were saved after the step before.
    let replayed = replay(&task, start(), &run, saved).unwrap();
    assert_eq!(replayed.step, *step);
    let broken = |(_, value): &&(String, f64)| !value.is_finite();
    assert!(replayed.figures.iter().any(|f| broken(&f)), "{replayed:?}");

    // With sound weights it is finite, and the same as in training.
    let sound = Run::new(run.identity.clone(), &dir.path().join("elsewhere"));
    let replayed = replay(&task, start(), &sound, saved).unwrap();
    assert_eq!(
        (replayed.step, &replayed.broken_gradients[..]),
        (0, &[][..])
    );
    assert!(replayed.figures.iter().all(|f| !broken(&f)), "{replayed:?}");
    assert!(!sound.folder.exists(), "nothing is written");

    let mut other = run.clone();
    other.identity.seed += 1;
    let error = replay(&task, start(), &other, saved).unwrap_err();
    assert!(error.to_string().contains("seed"), "{error}");
}

/// The built-in world, of which every fifth sample cannot be read.
struct Faulty(Arc<dyn Source>);

impl Source for Faulty {
    fn len(&self) -> Option<u64> {
        self.0.len()
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        if index % 5 == 4 {
            return Err(DataError::Image {
                name: format!("{index}.png"),
                reason: "broken".into(),
            });
        }
        self.0.get(index)
    }
}

#[test]
fn samples_that_cannot_be_read_are_counted_and_more_than_the_ceiling_stop() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let mut config = config(&preset, 1);
    config.schedule.steps = 2;
    config.workers = 2;
    let mut stage = stage_of(&preset, 1, &config);
    stage.data = vec![SourceSpec {
        kind: "faulty".into(),
        weight: 1.0,
        options: serde_json::Map::new(),
    }];
    let sources = SourceRegistry::standard().with(SourceKind {
        name: "faulty",
        about: "every third sample of the world cannot be read",
        fields: &[],
        build: |_, context| {
            let world = World::builtin()?;
            let source = world.source(Purpose::Instruction, context.seed, context.image_size)?;
            Ok(Arc::new(Faulty(source)))
        },
    });
    let context = SourceContext {
        seed: 3,
        image_size: preset.model.image_size as u32,
        root: ".".into(),
        limits: ImageLimits::default(),
    };
    let dir = tempfile::tempdir().unwrap();
    let run_with = |ceiling: f64, folder: &str| {
        let mut stage = stage.clone();
        stage.error_ceiling = ceiling;
        let tokenizer = TextTokenizer::builtin().unwrap();
        let spec = spec(&preset);
        let batches = stage_batches(&stage, &spec, &tokenizer, &sources, &context).unwrap();
        let compute = Compute {
            device: Device::flex(),
            precision: Precision::F32,
        };
        let task = DeemTask::new(&stage, batches, 5, &compute);
        let identity = RunIdentity::of_stage(&stage, &spec);
        let run = Run::new(identity, &dir.path().join(folder));
        train(&task, common::model(&preset, &device), &run, &mut Silent)
    };
    // Samples 0 to 11: 4 and 9 are unreadable.
    let trained = run_with(0.5, "tolerant").unwrap();
    assert_eq!(trained.skipped, 2);
    let lines = read_metrics(&dir.path().join("tolerant/metrics.jsonl")).unwrap();
    let counts: Vec<f64> = lines
        .iter()
        .map(|line| line["skipped_samples"].as_f64().unwrap())
        .collect();
    assert_eq!(counts, [1.0, 1.0]);
    let error = run_with(0.001, "strict").err().unwrap().to_string();
    assert!(
        error.contains("4.png") && error.contains("0.1 %"),
        "{error}"
    );
    assert!(
        Checkpoint::of(&dir.path().join("strict"))
            .newest()
            .is_none()
    );
}
