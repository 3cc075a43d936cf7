//! Exchanges numbers between the processes that a launcher started, and compares with what must come:
//!
//!     cargo build --release -p deem-collective --features mpi --example exchange
//!     mpirun -n 3 target/release/examples/exchange

use std::error::Error;
use std::time::{Duration, Instant};

use deem_collective::{Width, all_gather_floats, any, join, meanwhile, reduce_scatter, sum};

fn main() -> Result<(), Box<dyn Error>> {
    let processes = join(Duration::from_secs(60))?;
    let (rank, size) = (processes.rank(), processes.size());
    for length in [0, 1, 7, 1 << 20] {
        let value = |rank: usize, i: usize| ((i * 31 + rank * 7) % 257) as f32;
        let values: Vec<f32> = (0..length).map(|i| value(rank, i)).collect();
        let own = reduce_scatter(&*processes, &values, Width::Float32)?;
        let all = all_gather_floats(&*processes, &own)?;
        let expected: Vec<f32> = (0..length)
            .map(|i| (0..size).map(|rank| value(rank, i)).sum())
            .collect();
        assert_eq!(all, expected, "sums of {length} numbers");
    }
    let parts: Vec<Vec<u8>> = (0..size).map(|to| vec![rank as u8; to + rank]).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let expected: Vec<Vec<u8>> = (0..size)
        .map(|from| vec![from as u8; rank + from])
        .collect();
    assert_eq!(
        processes.all_to_all(&parts)?,
        expected,
        "parts of different lengths"
    );
    let mut figures = [1.0, rank as f64];
    sum(&*processes, &mut figures)?;
    assert_eq!(figures, [size as f64, (size * (size - 1) / 2) as f64]);
    let mut flags = [false, rank + 1 == size];
    any(&*processes, &mut flags)?;
    assert_eq!(flags, [false, true]);

    // How fast gradients travel, and what is gained by making some while others do.
    let before = processes.traffic();
    let started = Instant::now();
    let values = vec![1.0_f32; 1 << 22];
    let own = reduce_scatter(&*processes, &values, Width::Float32)?;
    all_gather_floats(&*processes, &own)?;
    let seconds = started.elapsed().as_secs_f64();
    let bytes = (processes.traffic() - before).bytes;
    // Eight buckets, of which each takes about as long to make as a process's part of an update.
    let made = || (0..8).map(|bucket| updated(bucket, 1 << 22));
    let reduce = |values: Vec<f32>| reduce_scatter(&*processes, &values, Width::Float32);
    let (mut after, mut during) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        processes.barrier()?;
        let started = Instant::now();
        let one_by_one = made().map(reduce).collect::<Result<Vec<_>, _>>()?;
        after.push(started.elapsed().as_secs_f64());
        processes.barrier()?;
        let started = Instant::now();
        let together = meanwhile(1, made(), reduce)?;
        during.push(started.elapsed().as_secs_f64());
        assert_eq!(one_by_one, together);
    }
    if processes.is_first() {
        println!(
            "{size} processes: all sums are right; {} numbers summed and given back in {:.1} ms, {bytes} bytes sent",
            values.len(),
            1e3 * seconds
        );
        let round = |seconds: &[f64]| {
            seconds
                .iter()
                .map(|s| format!("{:.0}", 1e3 * s))
                .collect::<Vec<_>>()
        };
        println!(
            "8 buckets made and summed, ms: one after the other {}; the next made meanwhile {}",
            round(&after).join(" "),
            round(&during).join(" ")
        );
    }
    Ok(())
}

/// Some numbers that take a few operations each.
fn updated(bucket: usize, length: usize) -> Vec<f32> {
    let value = |i: usize| {
        let (mut first, mut second) = (0.0_f32, 0.0_f32);
        for gradient in [(i % 7) as f32, (bucket + 1) as f32] {
            first = 0.9 * first + 0.1 * gradient;
            second = 0.995 * second + 0.005 * gradient * gradient;
        }
        first / (second.sqrt() + 1e-6)
    };
    (0..length).map(value).collect()
}
