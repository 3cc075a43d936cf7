//! `deem params`: how many parameters there are and how many a stage trains, without allocating any.

use anyhow::{Context, Result};
use burn::tensor::Device;
use deem_engine::encoder_feedback::FeedbackRun;
use deem_engine::train::ParameterInfo;
use deem_engine::train::parameters::{by_component, prepare};
use deem_model::deem::Deem;
use deem_model::encoder_feedback::FeedbackModel;
use serde_json::{Map, Value, json};

use super::setup::Setup;
use crate::args::Params;
use crate::progress::parameter_table;

/// Runs the command.
pub fn run(setup: &Setup, args: &Params) -> Result<()> {
    let parameters = match &args.config {
        Some(path) if FeedbackRun::is(path)? => {
            let run = FeedbackRun::read(path, &setup.overrides)?;
            // The last stage is what the run is for.
            let stage = run.stages.last().context("a run has stages")?;
            prepare(
                FeedbackModel::new(&run.model, &Device::flex())?,
                &stage.train,
                0,
            )?
            .1
        }
        Some(path) => {
            let (spec, stage) = setup.run(path)?;
            prepare(Deem::new(&spec.model, &Device::flex())?, &stage.train, 0)?.1
        }
        None => of_preset(setup, &args.stage)?,
    };
    if args.json {
        println!("{}", report(&parameters));
    } else {
        print!("{}", parameter_table(&parameters));
    }
    Ok(())
}

fn of_preset(setup: &Setup, name: &str) -> Result<Vec<ParameterInfo>> {
    let standins = setup.open()?;
    let experiment = standins.experiment();
    let stage = experiment
        .stages
        .iter()
        .chain(&experiment.pretrain.connect)
        .find(|stage| stage.name == name)
        .with_context(|| {
            let names: Vec<&str> = experiment.stages.iter().map(|s| s.name.as_str()).collect();
            format!("no stage {name:?} in the preset; it has {names:?}")
        })?;
    let model = Deem::new(&standins.preset().model, &Device::flex())?;
    Ok(prepare(model, &stage.train, 0)?.1)
}

fn report(parameters: &[ParameterInfo]) -> Value {
    let counts = by_component(parameters);
    let components: Map<String, Value> = counts
        .iter()
        .map(|count| {
            let numbers = json!({ "total": count.total, "trainable": count.trainable });
            (count.name.clone(), numbers)
        })
        .collect();
    json!({
        "total": counts.iter().map(|count| count.total).sum::<usize>(),
        "trainable": counts.iter().map(|count| count.trainable).sum::<usize>(),
        "components": components,
    })
}
