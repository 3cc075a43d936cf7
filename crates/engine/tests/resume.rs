//! Interrupted and resumed runs equal uninterrupted ones, bit for bit, in every stage.

mod common;

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use deem_engine::EngineError;
use deem_engine::Precision;
use deem_engine::train::{Observer, Silent, StepReport, TrainConfig, read_metrics, train};
use deem_model::weights::state;
use serde_json::Value;

/// Stops a run after a number of steps.
struct StopAfter {
    steps: u64,
    done: u64,
}

impl Observer for StopAfter {
    fn on_step(&mut self, report: &StepReport) {
        self.done = report.step;
    }

    fn interrupted(&self) -> bool {
        self.done >= self.steps
    }
}

fn config(preset: &common::Preset, stage: usize) -> TrainConfig {
    let mut config = preset.stages[stage].train.clone();
    config.schedule.steps = 4;
    config.schedule.warmup = 1;
    config.save_every = 1;
    config.probe_every = 2;
    config
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

    let whole = dir.path().join("whole");
    let expected = train(&task, start(), &config, "id", &whole, &mut Silent).unwrap();

    let parts = dir.path().join("parts");
    let mut stop = StopAfter { steps: 2, done: 0 };
    let stopped = train(&task, start(), &config, "id", &parts, &mut stop);
    assert!(matches!(stopped, Err(EngineError::Interrupted { step: 2 })));
    // A crash in the middle of writing the next checkpoint must not matter.
    fs::create_dir(parts.join("checkpoint.part")).unwrap();
    fs::write(parts.join("checkpoint.part/model.safetensors"), "half").unwrap();
    let resumed = train(&task, start(), &config, "id", &parts, &mut Silent).unwrap();

    assert_eq!(losses(&whole).len(), 4);
    assert_eq!(losses(&whole), losses(&parts));
    assert!(
        weights(&expected.model) == weights(&resumed.model),
        "weights differ"
    );
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
    train(&task, start(), &config, "one", dir.path(), &mut Silent).unwrap();
    let error = train(&task, start(), &config, "two", dir.path(), &mut Silent)
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("another configuration"),
        "{error}"
    );
}

#[test]
fn patterns_that_match_nothing_are_errors() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let task = common::task(&preset, 1, &device);
    let mut config = config(&preset, 1);
    config.groups[0].patterns = vec!["lama.*".into()];
    let dir = tempfile::tempdir().unwrap();
    let model = common::model(&preset, &device);
    let error = train(&task, model, &config, "id", dir.path(), &mut Silent)
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("\"lama.*\" matches no parameter"),
        "{error}"
    );
}

#[test]
fn a_loss_that_is_not_a_number_stops_and_saves_the_batch() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let task = common::task(&preset, 1, &device);
    let mut config = config(&preset, 1);
    for group in &mut config.groups {
        group.learning_rate = 1e30;
    }
    config.optimizer.clip = f64::INFINITY;
    let dir = tempfile::tempdir().unwrap();
    let model = common::model(&preset, &device);
    match train(&task, model, &config, "id", dir.path(), &mut Silent)
        .err()
        .unwrap()
    {
        EngineError::NotFinite { saved, .. } => {
            let batch: Value = serde_json::from_slice(&fs::read(saved).unwrap()).unwrap();
            assert!(batch["tokens"].as_array().is_some_and(|t| !t.is_empty()));
        }
        other => panic!("{other}"),
    }
}
