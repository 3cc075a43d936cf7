//! What a step cost: its time, what was waited for and exchanged, and how much was computed in it.

use std::time::Duration;

use deem_collective::{Collective, Traffic};

use super::run::Run;
use crate::EngineError;
use crate::flops::{Load, Operations};

/// Names in the log of what a step holds, and of so much a second.
const AMOUNTS: [(&str, &str); 2] = [
    ("tokens", "tokens_per_second"),
    ("images", "images_per_second"),
];
/// Name of a step's floating-point operations until they are divided by its time.
const OPERATIONS: &str = "operations";

/// What a batch holds, to be summed over a step under these names.
pub(super) fn amounts(
    load: &Load,
    operations: Option<&Operations>,
) -> impl Iterator<Item = (&'static str, f64)> {
    let amounts = [load.tokens, load.images].into_iter().zip(AMOUNTS);
    let amounts = amounts.filter(|(amount, _)| *amount > 0.0);
    let operations = operations.map(|operations| (OPERATIONS, operations.of(load)));
    amounts
        .map(|(amount, (name, _))| (name, amount))
        .chain(operations)
}

/// What a step cost this process.
pub(super) struct Cost {
    /// All of it, but for what follows the update.
    pub step: Duration,
    /// Waiting for batches.
    pub waited: Duration,
    /// How long training stood still for a checkpoint before it.
    pub saving: Duration,
    /// What was exchanged.
    pub traffic: Traffic,
}

impl Cost {
    /// Adds it to a step's figures, which are those of all processes. Utilisation is the share of what all devices could
    /// have computed in the time.
    ///
    /// # Errors
    /// `Processes` if another process gave up.
    pub fn add_to(self, scalars: &mut Vec<(String, f64)>, run: &Run) -> Result<(), EngineError> {
        let seconds = self.step.as_secs_f64();
        let figure = |name: &str| scalars.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        let mut costs = vec![
            ("seconds", seconds),
            ("data_seconds", self.waited.as_secs_f64()),
            ("checkpoint_seconds", self.saving.as_secs_f64()),
        ];
        for (name, rate) in AMOUNTS {
            costs.extend(figure(name).map(|amount| (rate, amount / seconds)));
        }
        if let Some(operations) = figure(OPERATIONS) {
            let speed = operations / seconds;
            costs.push(("model_teraflops_per_second", speed / 1e12));
            if let Some(peak) = run.peak_flops {
                let most = peak * run.processes.size() as f64;
                costs.push(("model_flops_utilization", speed / most));
            }
        }
        costs.extend(together(&*run.processes, self.traffic, self.step)?);
        scalars.retain(|(name, _)| name != OPERATIONS);
        scalars.extend(costs.into_iter().map(|(n, v)| (n.to_owned(), v)));
        Ok(())
    }
}

/// What working together cost this process at a step; nothing for the only one. The straggler's gap is how much longer
/// the slowest process computed than the fastest.
fn together(
    processes: &dyn Collective,
    traffic: Traffic,
    step: Duration,
) -> Result<Vec<(&'static str, f64)>, EngineError> {
    if processes.size() == 1 {
        return Ok(Vec::new());
    }
    let exchanged = traffic.time.as_secs_f64();
    let own = step.as_secs_f64() - exchanged;
    let all = processes.all_gather(&own.to_le_bytes())?;
    let all = all
        .iter()
        .filter_map(|bytes| bytes.as_slice().try_into().ok());
    let all: Vec<f64> = all.map(f64::from_le_bytes).collect();
    let slowest = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let fastest = all.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(vec![
        ("communication_seconds", exchanged),
        ("communication_bytes", traffic.bytes as f64),
        ("straggler_seconds", slowest - fastest),
    ])
}

/// Figures of a step summed over processes, by name.
///
/// # Errors
/// `Processes` if another process gave up.
pub(super) fn totals(
    processes: &dyn Collective,
    own: &[(String, f64)],
) -> Result<Vec<(String, f64)>, EngineError> {
    let text = serde_json::to_vec(own).expect("plain data");
    let mut sums: Vec<(String, f64)> = Vec::new();
    for bytes in processes.all_gather(&text)? {
        let figures: Vec<(String, f64)> = serde_json::from_slice(&bytes).unwrap_or_default();
        for (name, value) in figures {
            match sums.iter_mut().find(|(own, _)| *own == name) {
                Some((_, sum)) => *sum += value,
                None => sums.push((name, value)),
            }
        }
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;
    use crate::train::{RunIdentity, TrainConfig};

    /// Figures of a step of two seconds with three tokens and 6 · 10¹² operations.
    fn figures(peak: Option<f64>) -> Vec<(String, f64)> {
        let text = "save_every = 1\ngroups = []\nschedule = { steps = 2, warmup = 1 }";
        let train: TrainConfig = config::parse(text, &[]).unwrap();
        let run = Run {
            peak_flops: peak,
            ..Run::new(RunIdentity::new("s", &train), Path::new("unused"))
        };
        let cost = Cost {
            step: Duration::from_secs(2),
            waited: Duration::from_millis(500),
            saving: Duration::ZERO,
            traffic: Traffic::default(),
        };
        let own = [("loss", 1.0), ("tokens", 3.0), (OPERATIONS, 6e12)];
        let mut scalars = own.map(|(n, v)| (n.to_owned(), v)).to_vec();
        cost.add_to(&mut scalars, &run).unwrap();
        scalars
    }

    #[test]
    fn utilisation_is_told_where_the_peak_is_known() {
        let mut expected = vec![
            ("loss", 1.0),
            ("tokens", 3.0),
            ("seconds", 2.0),
            ("data_seconds", 0.5),
            ("checkpoint_seconds", 0.0),
            ("tokens_per_second", 1.5),
            ("model_teraflops_per_second", 3.0),
        ];
        let named = |all: &[(&str, f64)]| -> Vec<(String, f64)> {
            all.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect()
        };
        assert_eq!(figures(None), named(&expected));
        expected.push(("model_flops_utilization", 0.25));
        assert_eq!(figures(Some(12e12)), named(&expected));
    }
}
