//! `deem serve`: models over HTTP.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use deem::{Model, Purpose};
use deem_serve::{Handle, Metrics, Options, Schedule, Served, serve};

use super::setup::Setup;
use crate::args::{ModelChoice, Serve};
use crate::interrupt;

/// Runs the command, until it is told to end.
pub fn run(setup: &Setup, args: &Serve) -> Result<()> {
    interrupt::outlive_readers();
    let options = args.options();
    options.check()?; // before anything is loaded
    let load = |choice: &ModelChoice| -> Result<Model> {
        let model = setup.load(choice, Purpose::Everything)?;
        Ok(match args.context {
            Some(tokens) => model.with_context(tokens),
            None => model,
        })
    };
    let mut models = vec![load(&args.model)?];
    if let Some(compare) = &args.compare {
        let other = ModelChoice {
            model: Some(compare.clone()),
            ..args.model.clone()
        };
        models.push(load(&other)?);
    }
    let ids = ids(args, &models)?;
    let metrics = Metrics::new(&ids[0]);
    let (mut served, mut threads) = (Vec::new(), Vec::new());
    for (model, id) in models.into_iter().zip(ids) {
        let (one, of_model) = start(&model, &id, &options, args.schedule(), &metrics)?;
        served.push(one);
        threads.extend(of_model);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the server's threads")?;
    let names: Vec<String> = served.iter().map(|model| model.id.clone()).collect();
    let listening = |address: SocketAddr| {
        eprintln!(
            "{} at http://{address} (the page), http://{address}/v1, http://{address}/docs",
            names.join(" and ")
        );
    };
    runtime.block_on(serve(
        options,
        served,
        metrics,
        listening,
        interrupt::signal(),
    ))?;
    // Handles are gone with the server; what their threads still compute is for nobody.
    runtime.shutdown_background();
    for thread in threads {
        if thread.is_finished() && thread.join().is_err() {
            bail!("a model's thread ended by a panic");
        }
    }
    Ok(())
}

/// Starts a model's threads.
fn start(
    model: &Model,
    id: &str,
    options: &Options,
    schedule: Schedule,
    metrics: &Metrics,
) -> Result<(Served, Vec<JoinHandle<()>>)> {
    let (handle, arriving) = Handle::new(options.queue);
    let spec = model.spec();
    let served = Served {
        id: id.to_owned(),
        handle,
        drawing_size: spec.model.diffusion_size,
        context: spec.model.llama.max_position_embeddings,
    };
    let threads = schedule.start(model, arriving, &metrics.of(id));
    Ok((served, threads.context("the model's threads")?))
}

/// The models' names in requests, which differ.
fn ids(args: &Serve, models: &[Model]) -> Result<Vec<String>> {
    let mut ids: Vec<String> = Vec::new();
    for model in models {
        let name = match &args.name {
            Some(name) if ids.is_empty() => name.clone(),
            _ => model.name().to_owned(),
        };
        let taken = ids.contains(&name);
        ids.push(if taken {
            format!("{name}-compare")
        } else {
            name
        });
    }
    if ids.iter().any(|id| id.is_empty()) {
        bail!("--name: expected a name, found none");
    }
    Ok(ids)
}
