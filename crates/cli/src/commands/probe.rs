//! `deem probe`: one network on given tensors.

use anyhow::{Context, Result};
use deem_engine::probe::{Network, Probe};

use super::setup::Setup;
use crate::args;

/// Runs the command.
pub fn run(setup: &Setup, args: &args::Probe) -> Result<()> {
    let (_, component) = Network::ALL
        .into_iter()
        .find(|(name, _)| *name == args.component)
        .with_context(|| format!("no component {:?}", args.component))?;
    let probe = Probe {
        component,
        config: &args.config,
        weights: args.weights.as_deref(),
        inputs: &args.inputs,
        gradients: args.grad,
        compute: setup.compute()?,
    };
    Ok(probe.run(&args.outputs)?)
}
