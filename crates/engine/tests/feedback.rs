//! L_CSR reaches every tensor of the encoder and none of the frozen parts.

use std::collections::BTreeMap;

use burn::tensor::Device;
use deem_engine::objective::{DeemBatch, LossWeights, NoiseOf, deem_loss};
use deem_engine::train::parameters::{list, select};
use deem_engine::train::{AdamW, GradientSet, Loss, ParameterGroup, Shares, Task};
use deem_model::checkpointing::CheckpointBlocks;
use deem_model::component::Component;
use deem_model::weights::state;

use crate::common;

fn feedback_only(weights: LossWeights) -> LossWeights {
    LossWeights {
        text: 0.0,
        image: 0.0,
        feedback: 5.0,
        ..weights
    }
}

#[test]
fn feedback_reaches_the_whole_encoder_and_nothing_frozen() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let model = common::model(&preset, &device);
    let groups = [ParameterGroup {
        patterns: vec!["image_encoder.*".into()],
        learning_rate: 1e-3,
        weight_decay: 0.0,
    }];
    let (model, infos) = select(model, &groups).unwrap();
    let mut task = common::task(&preset, 0, &device);
    task.weights = feedback_only(task.weights);
    let (piece, batch) = common::first(&task);
    let loss = task.loss(&model, &batch, &piece, &Shares::whole());
    let gradients = loss.gradients(&model);

    // The LLM-side projection and the pyramid levels that only MMFS reads are not on the path from
    // the image to the condition; the CLIP head is carried along unused.
    let off_path = ["proj_t.", "adapter_c2", "adapter_c3", "visual.head."];
    for (path, ..) in list(&model) {
        let expected =
            path.starts_with("image_encoder.") && !off_path.iter().any(|p| path.contains(p));
        let norm = gradients.get(&path).map(|_| gradients.norm(|p| p == path));
        if expected {
            assert!(
                norm.is_some_and(|n| n > 0.0),
                "no feedback reaches {path}: {norm:?}"
            );
        } else if !path.starts_with("image_encoder.") {
            assert!(norm.is_none(), "frozen {path} has a gradient");
        }
    }

    let before: BTreeMap<String, Vec<f32>> = state(&model)
        .into_iter()
        .map(|t| (t.name, t.values))
        .collect();
    let mut optimizer = AdamW::new(Default::default(), &groups, &infos);
    let norm = gradients.norm(|_| true);
    let trained: Vec<String> = gradients.paths().map(str::to_owned).collect();
    let model = optimizer.step(model, gradients, norm, 0, 1.0);
    for tensor in state(&model) {
        let changed = before[&tensor.name] != tensor.values;
        assert_eq!(changed, trained.contains(&tensor.name), "{}", tensor.name);
    }
}

#[test]
fn the_probe_reports_the_ratio_that_lambda_makes() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let model = common::model(&preset, &device);
    let (model, _) = select(model, &preset.stages[0].train.groups).unwrap();
    let mut task = common::task(&preset, 0, &device);
    let (piece, batch) = common::first(&task);
    let figure = |task: &deem_engine::task::DeemTask, name: &str| {
        let probe = task.probe(&model, &batch, &piece);
        probe.into_iter().find(|(n, _)| n == name).unwrap().1
    };
    let ratio = figure(&task, "encoder_gradient/ratio");
    assert!(ratio > 0.0);
    task.weights.feedback *= 3.0;
    let tripled = figure(&task, "encoder_gradient/ratio");
    assert!((tripled / ratio - 3.0).abs() < 1e-3, "{ratio} {tripled}");
}

/// The backward pass of a task pauses behind the image tower.
#[test]
fn a_pause_changes_no_gradient() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let model = common::model(&preset, &device);
    let (model, _) = select(model, &preset.stages[0].train.groups).unwrap();
    let task = common::task(&preset, 0, &device);
    let (piece, batch) = common::first(&task);
    let paused = task.loss(&model, &batch, &piece, &Shares::whole());
    let paused = paused.gradients(&model);

    let batch = DeemBatch::new(&batch, &model, &device);
    let noise = NoiseOf {
        seed: task.seed,
        first_row: piece.first_row(),
    };
    let encoded = batch.encode(&model);
    let weights = &task.weights;
    let terms = deem_loss(&model, &batch, encoded.as_ref(), weights, noise, &device);
    let whole = Loss::sum(terms.weighted(weights), &Shares::whole(), &device);
    let whole = GradientSet::collect(&model, &whole.total.backward());

    assert!(paused.paths().eq(whole.paths()));
    let of = |set: &GradientSet, path: &str| set.get(path).unwrap().to_data();
    for path in whole.paths() {
        assert_eq!(of(&paused, path), of(&whole, path), "{path}");
    }
    assert!(whole.paths().any(|path| task.before_cut(path)));
}

/// All three losses, with everything trained that a stage trains.
#[test]
fn checkpointed_blocks_give_the_same_losses_and_gradients() {
    let device = Device::flex().autodiff();
    let step = |blocks: CheckpointBlocks| {
        let mut preset = common::preset();
        preset.model.checkpoint_blocks = blocks;
        let model = common::model(&preset, &device);
        let (model, _) = select(model, &preset.stages[0].train.groups).unwrap();
        let task = common::task(&preset, 0, &device);
        let (piece, batch) = common::first(&task);
        let loss = task.loss(&model, &batch, &piece, &Shares::whole());
        let total = loss.total.clone().into_scalar::<f32>();
        (total, loss.gradients(&model))
    };
    let (plain, again) = (
        step(CheckpointBlocks::default()),
        step(CheckpointBlocks::ALL),
    );
    assert!(
        (plain.0 - again.0).abs() < 1e-5 * plain.0,
        "{} {}",
        plain.0,
        again.0
    );
    assert!(plain.1.paths().eq(again.1.paths()));
    let tower = plain.1.norm(|path| Component::ImageTower.contains(path));
    assert!(tower > 0.0);
    let sizes = |of: &GradientSet| -> BTreeMap<String, f32> {
        let size = |path: &str| {
            of.get(path)
                .unwrap()
                .clone()
                .abs()
                .max()
                .into_scalar::<f32>()
        };
        of.paths()
            .map(|path| (path.to_owned(), size(path)))
            .collect()
    };
    let (first, second) = (sizes(&plain.1), sizes(&again.1));
    let largest = first.values().copied().fold(0.0, f32::max);
    // Softmax does not see what is added to every key alike: these gradients are zero but for rounding.
    let shifts_keys = |path: &str| {
        let bare = |attention: &str| !first.contains_key(&format!("{attention}.k_norm.bias"));
        path.ends_with(".k_norm.bias") || path.strip_suffix(".key.bias").is_some_and(bare)
    };
    for (path, size) in &first {
        if shifts_keys(path) {
            let noise = size.max(second[path]);
            assert!(noise <= 1e-6 * largest, "{path}: {noise} of {largest}");
            continue;
        }
        let difference = plain.1.get(path).unwrap().clone() - again.1.get(path).unwrap().clone();
        let difference = difference.abs().max().into_scalar::<f32>();
        assert!(
            difference <= 1e-4 * size + 1e-9,
            "{path}: {difference} of {size}"
        );
    }
}
