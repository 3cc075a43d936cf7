//! Low-rank adapters in a run: only they are trained, a resumed run is the same run, and its result opens without them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use deem_engine::EngineError;
use deem_engine::train::parameters::prepare;
use deem_engine::train::{
    LoraConfig, ParameterGroup, Run, RunIdentity, Silent, TrainConfig, train,
};
use deem_model::deem::Deem;
use deem_model::lora::peft::PeftFile;
use deem_model::weights::{LoadOptions, WeightsFile, load, state};

use crate::common;

fn lora(patterns: &[&str], rank: usize) -> LoraConfig {
    LoraConfig {
        patterns: patterns.iter().map(|p| (*p).to_owned()).collect(),
        rank,
        alpha: 8.0,
        dropout: 0.3,
    }
}

/// Adapters on the language model's attention and on the resampler, of two ranks.
fn config(preset: &common::Preset) -> TrainConfig {
    let mut config = preset.stages[0].train.clone();
    config.schedule.steps = 4;
    config.schedule.warmup = 1;
    config.save_every = 1;
    config.lora = vec![
        lora(&["llama.*.self_attn.*_proj", "llama.*.mlp.*"], 2),
        lora(&["image_encoder.resampler.*"], 3),
    ];
    config.groups = vec![ParameterGroup {
        patterns: vec!["*.lora.*".into()],
        learning_rate: 1e-2,
        weight_decay: 0.0,
    }];
    config
}

fn run(config: &TrainConfig, folder: &Path) -> Run {
    let identity = RunIdentity {
        seed: 5,
        ..RunIdentity::new("lora", config)
    };
    Run::new(identity, folder)
}

fn weights(model: &Deem) -> BTreeMap<String, Vec<f32>> {
    state(model)
        .into_iter()
        .map(|t| (t.name, t.values))
        .collect()
}

#[test]
fn adapters_alone_are_trained_and_resumed_bit_for_bit() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let task = common::task(&preset, 0, &device);
    let config = config(&preset);
    let dir = tempfile::tempdir().unwrap();
    let start = || common::model(&preset, &device);

    let whole = run(&config, &dir.path().join("whole"));
    let expected = train(&task, start(), &whole, &mut Silent).unwrap();
    let parts = run(&config, &dir.path().join("parts"));
    let stopped = train(&task, start(), &parts, &mut common::StopAfter::new(2));
    assert!(matches!(stopped, Err(EngineError::Interrupted { step: 2 })));
    let resumed = train(&task, start(), &parts, &mut Silent).unwrap();
    let found = weights(&expected.model);
    assert!(
        found == weights(&resumed.model),
        "a resumed run is another run"
    );

    // The result has the parameters of the model, and of those only adapted layers changed.
    let before = weights(&start());
    assert!(before.keys().eq(found.keys()));
    let adapted = |path: &str| {
        let layer = path.starts_with("image_encoder.resampler.")
            || path.starts_with("llama.") && (path.contains("_proj") && !path.contains("mmfs"));
        layer && path.ends_with(".weight") && !path.contains("norm")
    };
    for (path, values) in &before {
        if !adapted(path) {
            assert!(found[path] == *values, "{path} changed");
        }
    }
    let changed = before
        .iter()
        .filter(|(path, values)| found[*path] != **values);
    assert!(changed.count() > 8, "nothing was learned");

    // Opening it needs no knowledge of adapters.
    let file = WeightsFile::open(&expected.weights).unwrap();
    assert!(file.keys().all(|key| !key.contains("lora")));
    let rest_stays = LoadOptions {
        allow_missing: &[""],
        ..LoadOptions::default()
    };
    let opened = load(start(), &file, &rest_stays).unwrap();
    assert!(weights(&opened) == found, "the file is not the model");

    // What PEFT would read.
    let adapters = PeftFile::read(&whole.folder.join("adapter")).unwrap();
    let ranks: BTreeSet<usize> = adapters.states.iter().map(|s| s.spec.rank).collect();
    assert_eq!(ranks, BTreeSet::from([2, 3]));
    let factors = adapters.states.iter().map(|s| s.a.len() + s.b.len());
    assert_eq!(factors.sum::<usize>(), expected.trainable);
    let masks = Default::default();
    let (model, _) = adapters
        .apply(start(), &|path| path.to_owned(), 0, &masks)
        .unwrap();
    assert!(
        weights(&model.materialize()) == found,
        "the adapters are not the model"
    );
}

#[test]
fn patterns_and_ranks_that_cannot_be_meant_are_named() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let error = |lora: LoraConfig, patterns: &[&str]| {
        let mut config = config(&preset);
        config.lora = vec![lora];
        config.groups[0].patterns = patterns.iter().map(|p| (*p).to_owned()).collect();
        prepare(common::model(&preset, &device), &config, 0)
            .unwrap_err()
            .to_string()
    };
    let told = error(lora(&["llama.*.q_porj"], 2), &["*.lora.*"]);
    assert!(
        told.contains("lora[0].patterns") && told.contains("self_attn.q_proj"),
        "{told}"
    );
    let told = error(lora(&["llama.*.q_proj"], 9999), &["*.lora.*"]);
    assert!(
        told.contains("lora.rank") && told.contains("9999"),
        "{told}"
    );
    // An embedding is no linear layer.
    let told = error(lora(&["llama.model.embed_tokens"], 2), &["*.lora.*"]);
    assert!(told.contains("lora[0].patterns"), "{told}");
    for (field, bad) in [
        (
            "rank",
            LoraConfig {
                rank: 0,
                ..lora(&["*"], 1)
            },
        ),
        (
            "alpha",
            LoraConfig {
                alpha: f64::NAN,
                ..lora(&["*"], 1)
            },
        ),
        (
            "dropout",
            LoraConfig {
                dropout: 1.0,
                ..lora(&["*"], 1)
            },
        ),
    ] {
        assert!(bad.check().unwrap_err().starts_with(field));
    }
}

#[test]
fn a_group_that_names_everything_trains_no_weight_under_an_adapter() {
    let device = Device::flex().autodiff();
    let preset = common::preset();
    let mut config = config(&preset);
    config.groups[0].patterns = vec!["llama.*".into()];
    let (_, infos) = prepare(common::model(&preset, &device), &config, 0).unwrap();
    let trained = |path: &str| {
        infos
            .iter()
            .find(|i| i.path == path)
            .unwrap()
            .group
            .is_some()
    };
    let layer = "llama.model.layers.0.self_attn.q_proj.weight";
    assert!(!trained(layer));
    assert!(trained(&format!("{layer}.lora.a")) && trained(&format!("{layer}.lora.b")));
    assert!(trained("llama.model.norm.weight"));
}
