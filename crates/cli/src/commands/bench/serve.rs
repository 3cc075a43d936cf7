//! `deem bench serve`: clients of a server that runs, many at once, some of whom hang up or dawdle. Every answer is
//! checked to be that of its own picture.

mod client;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use self::client::{Answer, Asked, Client, Manner};
use super::memory_of;
use crate::args::BenchServe;

/// How far log-probabilities of the same answer may be apart.
const TOLERANCE: f64 = 1e-3;

/// Counts of a run.
#[derive(Default)]
struct Counts {
    right: AtomicU64,
    wrong: AtomicU64,
    failed: AtomicU64,
    busy: AtomicU64,
    hung_up: AtomicU64,
    slow: AtomicU64,
    tokens: AtomicU64,
}

/// What all clients share.
struct Load {
    client: Client,
    asked: Vec<Asked>,
    expected: Vec<Answer>,
    counts: Counts,
    next: AtomicU64,
    first_tokens: Mutex<Vec<f64>>,
    whole: Mutex<Vec<f64>>,
    /// The most that the log-probability of a right answer differed from what was expected.
    furthest: Mutex<f64>,
    complaint: Mutex<Option<String>>,
    over: AtomicBool,
}

/// Runs the clients.
pub fn run(part: &BenchServe) -> Result<Value> {
    if part.clients == 0 || part.requests == 0 {
        bail!("--clients and --requests: expected at least 1");
    }
    if !(0.0..=1.0).contains(&(part.hang_up + part.slow)) {
        bail!("--hang-up and --slow: expected shares whose sum is at most 1");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("a runtime for the clients")?;
    runtime.block_on(all(part))
}

async fn all(part: &BenchServe) -> Result<Value> {
    let client = Client::new(part)?;
    let asked: Vec<Asked> = (0..part.pictures.max(1))
        .map(|index| Asked::new(part, index))
        .collect::<Result<_>>()?;
    // What is right: the answer that each picture gets while nobody else asks.
    let mut expected = Vec::with_capacity(asked.len());
    for asked in &asked {
        let answer = client.ask(asked, Manner::Patient).await?;
        expected.push(answer.context("the server is busy before anything has been asked")?);
    }
    let load = Arc::new(Load {
        client,
        asked,
        expected,
        counts: Counts::default(),
        next: AtomicU64::new(0),
        first_tokens: Mutex::default(),
        whole: Mutex::default(),
        furthest: Mutex::default(),
        complaint: Mutex::default(),
        over: AtomicBool::new(false),
    });
    let started = Instant::now();
    let before = part.pid.and_then(memory_of);
    let clients: Vec<_> = (0..part.clients)
        .map(|_| tokio::spawn(client_of(load.clone(), Plan::of(part))))
        .collect();
    let watch = watch(load.clone(), part.pid, part.log.as_deref(), started)?;
    let watch = tokio::spawn(watch);
    for client in clients {
        client.await?;
    }
    let seconds = started.elapsed().as_secs_f64();
    load.over.store(true, Ordering::Relaxed);
    let most = watch.await??;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counts = &load.counts;
    let mut differing: Vec<&Answer> = Vec::new();
    for answer in &load.expected {
        if !differing.iter().any(|other| other.is(answer)) {
            differing.push(answer);
        }
    }
    let tokens = count(&counts.tokens);
    Ok(json!({
        "bench": "serve",
        "clients": part.clients,
        "pictures": part.pictures,
        "answers_that_differ": differing.len(),
        "seconds": seconds,
        "right": count(&counts.right),
        "wrong": count(&counts.wrong),
        "failed": count(&counts.failed),
        "refused_as_busy": count(&counts.busy),
        "hung_up": count(&counts.hung_up),
        "slow": count(&counts.slow),
        "log_probabilities_differ_by": take(&load.furthest),
        "complaint": take(&load.complaint),
        "requests_per_second": count(&counts.right) as f64 / seconds,
        "tokens_per_second": tokens as f64 / seconds,
        "first_token_seconds": quantiles(take(&load.first_tokens)),
        "answer_seconds": quantiles(take(&load.whole)),
        "server_memory_before_bytes": before,
        "server_memory_most_bytes": most,
        "server_memory_after_bytes": part.pid.and_then(memory_of),
    }))
}

/// How much a client has to do, and in what manner.
#[derive(Clone, Copy)]
struct Plan {
    requests: u64,
    until: Option<Duration>,
    hang_up: f64,
    slow: f64,
}

impl Plan {
    fn of(part: &BenchServe) -> Self {
        Self {
            requests: part.requests,
            until: part.seconds.map(Duration::from_secs),
            hang_up: part.hang_up,
            slow: part.slow,
        }
    }

    /// Spread evenly over the requests.
    fn manner(self, number: u64) -> Manner {
        let reaches = |number: u64, share: f64| {
            ((number + 1) as f64 * share).floor() > (number as f64 * share).floor()
        };
        if reaches(number, self.hang_up) {
            Manner::HangsUp
        } else if reaches(number + 1, self.slow) {
            Manner::Slow
        } else {
            Manner::Patient
        }
    }
}

async fn client_of(load: Arc<Load>, plan: Plan) {
    let started = Instant::now();
    loop {
        let number = load.next.fetch_add(1, Ordering::Relaxed);
        let late = plan.until.is_some_and(|until| started.elapsed() > until);
        if late || (plan.until.is_none() && number >= plan.requests) {
            return;
        }
        let manner = plan.manner(number);
        let which = number as usize % load.asked.len();
        loop {
            match load.client.ask(&load.asked[which], manner).await {
                Ok(None) => {
                    add(&load.counts.busy, 1);
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
                Ok(Some(answer)) => note(&load, which, manner, &answer),
                Err(error) => {
                    add(&load.counts.failed, 1);
                    complain(&load, format!("{error:#}"));
                }
            }
            break;
        }
    }
}

fn note(load: &Load, which: usize, manner: Manner, answer: &Answer) {
    match manner {
        Manner::HangsUp => return add(&load.counts.hung_up, 1),
        Manner::Slow => add(&load.counts.slow, 1),
        Manner::Patient => {
            push(&load.first_tokens, answer.first.as_secs_f64());
            push(&load.whole, answer.whole.as_secs_f64());
        }
    }
    add(&load.counts.tokens, answer.tokens);
    let expected = &load.expected[which];
    if answer.is(expected) {
        add(&load.counts.right, 1);
        let furthest = load.furthest.lock();
        let mut furthest = furthest.unwrap_or_else(PoisonError::into_inner);
        *furthest = furthest.max(answer.apart(expected));
    } else {
        add(&load.counts.wrong, 1);
        complain(
            load,
            format!("picture {which}: expected {expected:?}, found {answer:?}"),
        );
    }
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

fn push(values: &Mutex<Vec<f64>>, value: f64) {
    values
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(value);
}

fn take<T: Default>(value: &Mutex<T>) -> T {
    std::mem::take(&mut *value.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Keeps the first thing that went wrong.
fn complain(load: &Load, text: String) {
    let complaint = load.complaint.lock();
    complaint
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert(text);
}

fn quantiles(mut seconds: Vec<f64>) -> Value {
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let last = seconds.len().checked_sub(1)?;
        Some(seconds[(share * last as f64).round() as usize])
    };
    json!({ "median": at(0.5), "p95": at(0.95), "p99": at(0.99), "most": at(1.0) })
}

/// Writes a line every ten seconds, and finds the largest memory of the server.
fn watch(
    load: Arc<Load>,
    pid: Option<u32>,
    log: Option<&Path>,
    started: Instant,
) -> Result<impl Future<Output = Result<Option<u64>>> + use<>> {
    let created = log.map(|path| File::create(path).with_context(|| path.display().to_string()));
    let mut log = created.transpose()?.map(BufWriter::new);
    Ok(async move {
        let mut most = None;
        let mut ticks = 0;
        while !load.over.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let memory = pid.and_then(memory_of);
            most = most.max(memory);
            ticks += 1;
            if ticks % 50 == 0 {
                let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                let line = json!({
                    "seconds": started.elapsed().as_secs_f64().round(),
                    "right": count(&load.counts.right),
                    "wrong": count(&load.counts.wrong),
                    "failed": count(&load.counts.failed),
                    "memory_bytes": memory,
                });
                if let Some(log) = &mut log {
                    writeln!(log, "{line}")?;
                    log.flush()?;
                } else {
                    eprintln!("{line}");
                }
            }
        }
        Ok(most)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_out_exactly() {
        let plan = Plan {
            requests: 100,
            until: None,
            hang_up: 0.1,
            slow: 0.25,
        };
        let count = |manner| {
            (0..100)
                .filter(|number| plan.manner(*number) == manner)
                .count()
        };
        assert_eq!(count(Manner::HangsUp), 10);
        // Some fall on the same request.
        assert!((20..=25).contains(&count(Manner::Slow)));
    }

    #[test]
    fn quantiles_of_a_few() {
        let found = quantiles(vec![3.0, 1.0, 2.0]);
        assert_eq!(
            (&found["median"], &found["most"]),
            (&json!(2.0), &json!(3.0))
        );
        assert!(quantiles(Vec::new())["median"].is_null());
    }
}
