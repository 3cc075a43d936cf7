//! Several runs at a time, each on its share of the processor: the networks of a laptop preset gain little from a second
//! thread.

use std::collections::VecDeque;
use std::sync::Mutex;

use anyhow::Result;

/// Does all jobs, at most so many at a time (default: as many as there are cores), and gives what came of them in their
/// order, with the threads of each. After an error no further job begins.
pub fn side_by_side<J: Send, R: Send>(
    jobs: Vec<J>,
    most: Option<usize>,
    work: impl Fn(J) -> Result<R> + Sync,
) -> Result<(Vec<R>, usize)> {
    let cores = rayon::current_num_threads();
    let workers = most.unwrap_or(cores).clamp(1, jobs.len().max(1));
    let threads = (cores / workers).max(1);
    let queue: VecDeque<(usize, J)> = jobs.into_iter().enumerate().collect();
    let queue = Mutex::new(queue);
    let worker = || -> Result<Vec<(usize, R)>> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()?;
        let mut finished = Vec::new();
        loop {
            let next = queue.lock().ok().and_then(|mut queue| queue.pop_front());
            let Some((number, job)) = next else {
                return Ok(finished);
            };
            let done = pool.install(|| work(job));
            if done.is_err()
                && let Ok(mut queue) = queue.lock()
            {
                queue.clear();
            }
            finished.push((number, done?));
        }
    };
    let finished = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a run does not panic"))
            .collect::<Result<Vec<_>>>()
    })?;
    let mut finished: Vec<(usize, R)> = finished.into_iter().flatten().collect();
    finished.sort_by_key(|(number, _)| *number);
    Ok((
        finished.into_iter().map(|(_, done)| done).collect(),
        threads,
    ))
}
