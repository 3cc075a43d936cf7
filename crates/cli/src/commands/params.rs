//! `deem params`: how many parameters there are and how many a stage trains, without allocating any.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use burn::tensor::Device;
use deem_engine::train::parameters::select;
use deem_model::deem::Deem;

use super::session::StandInChoice;
use crate::args::Params;
use crate::progress::parameter_table;

/// Runs the command.
pub fn run(standins: &StandInChoice, args: &Params) -> Result<()> {
    let standins = standins.open()?;
    let preset = standins.preset();
    let stage = preset
        .stages
        .iter()
        .chain(&preset.pretrain.connect)
        .find(|stage| stage.name == args.stage)
        .with_context(|| {
            let names: Vec<&str> = preset.stages.iter().map(|s| s.name.as_str()).collect();
            format!("no stage {:?} in the preset; it has {names:?}", args.stage)
        })?;
    let model = Deem::new(&preset.model, &Device::flex())?;
    let (_, parameters) = select(model, &stage.train.groups)?;
    if !args.json {
        print!("{}", parameter_table(&parameters));
        return Ok(());
    }
    let mut components: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for parameter in &parameters {
        let name: String = parameter
            .path
            .split('.')
            .take(2)
            .collect::<Vec<_>>()
            .join(".");
        let [total, trainable] = components.entry(name).or_default();
        *total += parameter.count;
        *trainable += if parameter.group.is_some() {
            parameter.count
        } else {
            0
        };
    }
    let sum = |i: usize| components.values().map(|c| c[i]).sum::<usize>();
    let by_name: serde_json::Map<_, _> = components
        .iter()
        .map(|(name, [total, trainable])| {
            (
                name.clone(),
                serde_json::json!({ "total": total, "trainable": trainable }),
            )
        })
        .collect();
    let report = serde_json::json!({ "total": sum(0), "trainable": sum(1), "components": by_name });
    println!("{report}");
    Ok(())
}
