//! A step gives the same whichever way its rows are computed: all at once, in parts of different lengths, or by several
//! processes, whose number may change when a run is resumed.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use deem_collective::{Alone, Collective, Threads, Width};
use deem_data::storage::Bucket;
use deem_engine::config::ModelSpec;
use deem_engine::train::{
    Checkpoint, FrozenShards, Observer, Run, RunIdentity, RunStore, StepReport, block_of,
    parameters, read_metrics, train,
};
use deem_engine::{EngineError, Precision};
use deem_model::checkpointing::CheckpointBlocks;
use deem_model::weights::WeightsFile;

use crate::common;

const STEPS: u64 = 4;

/// Logged figures of each step, and the trained weights.
type Outcome = (Vec<BTreeMap<String, f64>>, Vec<(String, Vec<f32>)>);

/// How a stage of the tests' model is trained.
#[derive(Clone, Copy)]
struct Setup {
    stage: usize,
    rows: usize,
    accumulate: u64,
    width: Width,
    /// Steps between probes, which the first process makes alone.
    probe_every: u64,
    /// Whether blocks are checkpointed.
    recompute: bool,
    /// Whether each process keeps a part of what is frozen.
    shard_frozen: bool,
}

impl Setup {
    const fn of(stage: usize, rows: usize, accumulate: u64) -> Self {
        Self {
            stage,
            rows,
            accumulate,
            width: Width::Float32,
            probe_every: 0,
            recompute: false,
            shard_frozen: false,
        }
    }

    /// Trains until `stop`.
    fn train(
        self,
        folder: &Path,
        stop: u64,
        processes: Arc<dyn Collective>,
        store: Option<RunStore>,
    ) -> Result<(), EngineError> {
        let device = Device::flex().autodiff();
        let mut preset = common::preset();
        if self.recompute {
            preset.model.checkpoint_blocks = CheckpointBlocks::ALL;
        }
        let task = common::task_of_rows(&preset, self.stage, self.rows, &device);
        let mut stage = preset.stages[self.stage].clone();
        stage.batch = self.rows;
        stage.train.schedule.steps = STEPS;
        stage.train.schedule.warmup = 0;
        stage.train.accumulate = self.accumulate;
        stage.train.gradients = self.width;
        stage.train.probe_every = self.probe_every;
        stage.train.shard_frozen = self.shard_frozen;
        stage.train.save_every = 3;
        // Of gradients that are all rounding, AdamW's first updates make steps of the whole learning rate.
        for group in &mut stage.train.groups {
            group.learning_rate *= 0.1;
        }
        let spec = ModelSpec {
            max_tokens: preset.max_tokens,
            model: preset.model.clone(),
        };
        let (train_config, blocks) = (&stage.train, preset.model.checkpoint_blocks);
        let model = common::model(&preset, &device);
        let (model, frozen) =
            FrozenShards::share(model, train_config, blocks, Precision::F32, &processes)?;
        let run = Run {
            processes,
            frozen,
            store,
            ..Run::new(RunIdentity::of_stage(&stage, &spec), folder)
        };
        train(&task, model, &run, &mut Until(stop, Cell::new(0))).map(|_| ())
    }

    /// Trains with as many processes until each of some steps.
    fn together(self, folder: &Path, parts: &[(usize, u64)]) {
        for (size, stop) in parts {
            std::thread::scope(|scope| {
                for member in Threads::team(*size) {
                    scope.spawn(move || {
                        let result = self.train(folder, *stop, Arc::new(member), None);
                        match result {
                            Ok(()) => assert_eq!(*stop, STEPS),
                            Err(EngineError::Interrupted { step }) => assert_eq!(step, *stop),
                            Err(error) => panic!("{error}"),
                        }
                    });
                }
            });
        }
    }
}

/// Interrupts after a step.
struct Until(u64, Cell<u64>);

impl Observer for Until {
    fn on_step(&mut self, report: &StepReport) {
        self.1.set(report.step);
    }

    fn interrupted(&self) -> bool {
        self.1.get() == self.0
    }
}

fn outcome(folder: &Path) -> Outcome {
    let lines = read_metrics(&folder.join("metrics.jsonl")).unwrap();
    let figures = lines.iter().map(|line| {
        let fields = line.as_object().unwrap().iter();
        let figures = fields.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
        let costs = ["seconds", "bytes", "per_second"];
        figures
            .filter(|(name, _)| !costs.iter().any(|cost| name.ends_with(cost)))
            .collect()
    });
    let weights = WeightsFile::open(&folder.join("checkpoint/model.safetensors")).unwrap();
    let values = weights
        .keys()
        .map(|key| (key.to_owned(), weights.f32(key).unwrap()));
    (figures.collect(), values.collect())
}

fn alone(setup: Setup) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    setup
        .train(folder.path(), STEPS, Arc::new(Alone), None)
        .unwrap();
    outcome(folder.path())
}

/// Compares what was logged of some steps from the first on.
#[track_caller]
fn assert_same_figures(
    what: &str,
    expected: &[BTreeMap<String, f64>],
    found: &[BTreeMap<String, f64>],
    losses: f64,
) {
    for (step, (expected, found)) in expected.iter().zip(found).enumerate() {
        assert!(
            expected.keys().eq(found.keys()),
            "{what}: {expected:?} {found:?}"
        );
        for (name, value) in expected {
            // AdamW's first updates have the size of the learning rate even where gradients are all rounding, and of
            // this untrained model gradients are large: their norm shows it, the losses do not.
            let tolerance = if name == "gradient_norm" && step > 0 {
                100.0 * losses
            } else {
                losses
            };
            let other = found[name];
            assert!(
                (value - other).abs() <= tolerance * value.abs().max(1e-3),
                "{what}, step {step}, {name}: {value} {other}"
            );
        }
    }
}

#[track_caller]
fn assert_same(what: &str, expected: &Outcome, found: &Outcome, losses: f64) {
    assert_eq!(
        (expected.0.len(), found.0.len()),
        (STEPS as usize, STEPS as usize),
        "{what}"
    );
    assert_same_figures(what, &expected.0, &found.0, losses);
    for ((name, expected), (_, found)) in expected.1.iter().zip(&found.1) {
        let norm = |values: &mut dyn Iterator<Item = f32>| {
            values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
        };
        let size = norm(&mut expected.iter().copied());
        let apart = norm(&mut expected.iter().zip(found).map(|(a, b)| a - b));
        assert!(
            apart <= 100.0 * losses * size.max(0.1),
            "{what}, {name}: {apart} of {size}"
        );
    }
}

#[test]
fn one_batch_and_several_micro_batches_of_ragged_rows_are_the_same_step() {
    for stage in 0..3 {
        let whole = alone(Setup::of(stage, 6, 1));
        for (rows, accumulate) in [(2, 3), (1, 6)] {
            let parts = alone(Setup::of(stage, rows, accumulate));
            let what = format!("stage {stage}, {accumulate} x {rows}");
            assert_same(&what, &whole, &parts, 1e-5);
        }
    }
}

/// The step, and the losses after its update; later the untrained model's gradients grow apart from rounding alone. Of a
/// trained one tools/cluster/check.py compares more steps.
#[test]
fn thirty_two_rows_at_once_are_four_times_eight() {
    let (whole, _) = alone(Setup::of(0, 32, 1));
    let (parts, _) = alone(Setup::of(0, 8, 4));
    assert_same_figures("4 x 8", &whole[..2], &parts[..2], 1e-5);
}

#[test]
fn any_number_of_processes_trains_the_same_run() {
    for stage in 0..3 {
        let whole = alone(Setup::of(stage, 6, 1));
        for (rows, accumulate, size) in [(6, 1, 2), (6, 1, 3), (3, 2, 4)] {
            let folder = tempfile::tempdir().unwrap();
            Setup::of(stage, rows, accumulate).together(folder.path(), &[(size, STEPS)]);
            let what = format!("stage {stage}, {size} processes");
            assert_same(&what, &whole, &outcome(folder.path()), 1e-5);
        }
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_processes() {
    let setup = Setup::of(0, 6, 1);
    let whole = alone(setup);
    for parts in [[(2, 1), (3, 2), (1, STEPS)], [(1, 2), (2, 3), (3, STEPS)]] {
        let folder = tempfile::tempdir().unwrap();
        setup.together(folder.path(), &parts);
        assert_same(&format!("{parts:?}"), &whole, &outcome(folder.path()), 1e-5);
    }
}

#[test]
fn the_same_processes_give_the_same_bits() {
    let setup = Setup::of(0, 6, 1);
    let once = |parts: &[(usize, u64)]| {
        let folder = tempfile::tempdir().unwrap();
        setup.together(folder.path(), parts);
        outcome(folder.path())
    };
    let whole = once(&[(2, STEPS)]);
    assert_eq!(whole, once(&[(2, STEPS)]));
    assert_eq!(whole, once(&[(2, 2), (2, STEPS)]), "resumed");
}

#[test]
fn sixteen_bit_gradients_are_close() {
    let setup = Setup::of(0, 6, 1);
    let whole = alone(setup);
    let narrow = Setup {
        width: Width::BFloat16,
        ..setup
    };
    let folder = tempfile::tempdir().unwrap();
    narrow.together(folder.path(), &[(2, STEPS)]);
    let found = outcome(folder.path());
    assert_same("bf16", &whole, &found, 1e-2);
    assert_ne!(whole, found);
}

#[test]
fn more_processes_than_rows_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for member in Threads::team(3) {
            let folder = folder.path();
            scope.spawn(move || {
                let setup = Setup::of(0, 2, 1);
                let error = setup
                    .train(folder, STEPS, Arc::new(member), None)
                    .unwrap_err();
                assert!(error.to_string().contains("train.accumulate"), "{error}");
            });
        }
    });
}

/// A run's bytes that the first process sent, by step.
fn sent(folder: &Path) -> Vec<f64> {
    let lines = read_metrics(&folder.join("metrics.jsonl")).unwrap();
    let sent = lines.iter().map(|line| &line["communication_bytes"]);
    sent.map(|bytes| bytes.as_f64().unwrap()).collect()
}

#[test]
fn sharing_frozen_weights_changes_no_bit() {
    for stage in 0..3 {
        for size in [2, 3] {
            let once = |shard_frozen| {
                let setup = Setup {
                    recompute: true,
                    probe_every: 2,
                    shard_frozen,
                    ..Setup::of(stage, 6, 1)
                };
                let folder = tempfile::tempdir().unwrap();
                setup.together(folder.path(), &[(size, 2), (size, STEPS)]);
                let sent: f64 = sent(folder.path()).iter().sum();
                (outcome(folder.path()), sent)
            };
            let ((whole, little), (shared, much)) = (once(false), once(true));
            assert_eq!(whole, shared, "stage {stage}, {size} processes");
            assert!(much > little, "stage {stage}: {much} {little}");
        }
    }
}

#[test]
fn a_run_may_begin_to_share_what_is_frozen() {
    let whole = Setup {
        recompute: true,
        ..Setup::of(0, 6, 1)
    };
    let shared = Setup {
        shard_frozen: true,
        ..whole
    };
    let once = |parts: [(Setup, u64); 2]| {
        let folder = tempfile::tempdir().unwrap();
        for (setup, stop) in parts {
            setup.together(folder.path(), &[(2, stop)]);
        }
        outcome(folder.path())
    };
    let expected = once([(whole, 2), (whole, STEPS)]);
    assert_eq!(expected, once([(whole, 2), (shared, STEPS)]));
    assert_eq!(expected, once([(shared, 2), (whole, STEPS)]));
}

/// Of each matrix a process sends its part to the others whenever it is used: forward, and again where a gradient
/// passes on. docs/cluster.md gives the formula.
#[test]
fn what_sharing_sends_is_known() {
    let size = 2;
    let run = |shard_frozen| {
        let setup = Setup {
            recompute: true,
            shard_frozen,
            ..Setup::of(0, 6, 1)
        };
        let folder = tempfile::tempdir().unwrap();
        setup.together(folder.path(), &[(size, STEPS)]);
        sent(folder.path())
    };
    let preset = common::preset();
    let model = deem_model::deem::Deem::new(&preset.model, &Device::flex()).unwrap();
    let (_, infos) = parameters::prepare(model, &preset.stages[0].train, 0).unwrap();
    let shared = block_of(&infos, CheckpointBlocks::ALL);
    let numbers: usize = infos
        .iter()
        .filter(|info| shared.contains_key(info.path.as_str()))
        .map(|info| info.count / size)
        .sum();
    let bytes = (4 * numbers * (size - 1)) as f64;
    for (plain, sharing) in run(false).iter().zip(run(true)) {
        // Stage 1 draws twice (the picture, and what the encoder saw) and reads once; what it does not draw it asks for
        // less often. Requests take eight bytes each.
        let times = (sharing - plain) / bytes;
        assert!((1.9..=4.2).contains(&times), "{times}");
    }
}

#[test]
fn nothing_to_share_and_runs_that_cannot_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for member in Threads::team(2) {
            let folder = folder.path();
            scope.spawn(move || {
                let setup = Setup {
                    shard_frozen: true,
                    ..Setup::of(0, 6, 1)
                };
                let refused = setup.train(folder, STEPS, Arc::new(member), None);
                let refused = refused.unwrap_err().to_string();
                assert!(refused.contains("model.checkpoint_blocks"), "{refused}");
            });
        }
    });
}

/// Two machines with disks of their own, and two others after them.
#[test]
fn a_run_goes_on_elsewhere_from_an_object_store() {
    let setup = Setup::of(0, 6, 1);
    let expected = {
        let folder = tempfile::tempdir().unwrap();
        setup.together(folder.path(), &[(2, 2), (3, STEPS)]);
        outcome(folder.path())
    };
    let store = RunStore::of(Bucket::in_memory());
    for (size, stop, begins) in [(2, 2, None), (3, STEPS, Some(2))] {
        let machines = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for member in Threads::team(size) {
                let (store, machines) = (store.clone(), machines.path());
                scope.spawn(move || {
                    let own = machines.join(member.rank().to_string());
                    assert_eq!(store.pull(&own).unwrap(), begins);
                    let result = setup.train(&own, stop, Arc::new(member), Some(store));
                    match result {
                        Ok(()) => assert_eq!(stop, STEPS),
                        Err(EngineError::Interrupted { step }) => assert_eq!(step, stop),
                        Err(error) => panic!("{error}"),
                    }
                    if stop == STEPS {
                        // Each has the whole result.
                        assert!(Checkpoint::of(&own).weights().is_file());
                    }
                });
            }
        });
    }
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(store.pull(folder.path()).unwrap(), Some(STEPS));
    assert_eq!(outcome(folder.path()), expected);
}
