//! What commands that several processes share have in common.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use deem_collective::Collective;
use deem_engine::EngineError;
use deem_engine::evaluate::Shard;

/// How long a process that has done its share waits for the others'.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// Joins the processes that were started with this one to train with them. Where each computes on a card, long messages
/// travel from card to card (feature `nccl`).
pub fn join(limit: Duration, device: &str) -> Result<Arc<dyn Collective>> {
    let processes = deem_collective::join(limit)?;
    #[cfg(feature = "nccl")]
    if let Some(card) = deem_engine::card(device).filter(|_| processes.size() > 1) {
        let with_cards = deem_collective::nccl::Nccl::join(processes.clone(), card);
        return Ok(Arc::new(trained(
            &*processes,
            with_cards.map_err(Into::into),
        )?));
    }
    #[cfg(not(feature = "nccl"))]
    let _ = device;
    Ok(processes)
}

/// Joins the processes that were started with this one and does a share of the work: this process's, or the one asked
/// for if it is alone. Whoever fails ends all.
pub fn share(shard: Shard, work: impl FnOnce(&dyn Collective, Shard) -> Result<()>) -> Result<()> {
    let processes = deem_collective::join(PATIENCE)?;
    let shard = match processes.size() {
        1 => shard,
        _ if !shard.is_whole() => {
            bail!("--shard: processes that are started together share the work by themselves")
        }
        size => Shard::new(processes.rank() + 1, size).context("a share for each process")?,
    };
    let done = work(&*processes, shard);
    if let Err(error) = &done {
        processes.abort(&format!("{error:#}"));
    }
    done
}

/// What came of a training. Whoever failed alone ends the others, which would wait for it; an interruption, and the end of
/// another process, are known to all.
pub fn trained<T>(processes: &dyn Collective, result: Result<T>) -> Result<T> {
    if let Err(error) = &result {
        let known = error
            .downcast_ref::<EngineError>()
            .is_some_and(|e| e.is_interruption() || matches!(e, EngineError::Processes(_)));
        if !known {
            processes.abort(&format!("{error:#}"));
        }
    }
    result
}
