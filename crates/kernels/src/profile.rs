//! Where the time of fused operations goes.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static ON: AtomicBool = AtomicBool::new(false);
static TIMES: Mutex<BTreeMap<Entry, Cost>> = Mutex::new(BTreeMap::new());

/// One operation at one shape.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Name and settings of the operation, cut to 80 characters.
    pub op: String,
    /// Whether this is its gradient.
    pub backward: bool,
    /// Shapes of its inputs.
    pub shapes: Vec<Vec<usize>>,
}

impl Entry {
    pub(crate) fn new(op: &impl Debug, backward: bool, shapes: Vec<Vec<usize>>) -> Self {
        let op = format!("{op:?}").chars().take(80).collect();
        Self {
            op,
            backward,
            shapes,
        }
    }
}

/// How often an operation ran, and for how long.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Calls.
    pub calls: u64,
    /// Wall time of all calls.
    pub time: Duration,
}

/// Starts (or ends) counting from nothing.
pub fn profile(on: bool) {
    TIMES.lock().unwrap_or_else(|e| e.into_inner()).clear();
    ON.store(on, Ordering::Relaxed);
}

/// What ran since [`profile`] was switched on.
pub fn profiled() -> Vec<(Entry, Cost)> {
    let times = TIMES.lock().unwrap_or_else(|e| e.into_inner());
    times.iter().map(|(e, c)| (e.clone(), *c)).collect()
}

/// Runs `work`, and counts it under the entry if counting is on.
pub(crate) fn timed<T>(entry: impl FnOnce() -> Entry, work: impl FnOnce() -> T) -> T {
    if !ON.load(Ordering::Relaxed) {
        return work();
    }
    let started = Instant::now();
    let result = work();
    let time = started.elapsed();
    let mut times = TIMES.lock().unwrap_or_else(|e| e.into_inner());
    let cost = times.entry(entry()).or_default();
    cost.calls += 1;
    cost.time += time;
    result
}
