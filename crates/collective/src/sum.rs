//! Sums over processes, in the order of ranks.

use std::ops::Range;

use half::bf16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};

use crate::{Collective, CollectiveError};

/// In which type numbers travel; they are added as 32-bit floats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Width {
    /// 32-bit floats.
    #[default]
    #[serde(rename = "f32")]
    Float32,
    /// 16-bit floats with 8 bits of exponent: half the bytes.
    #[serde(rename = "bf16")]
    BFloat16,
}

impl Width {
    fn write(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::Float32 => bytemuck::cast_slice(values).to_vec(),
            Self::BFloat16 => {
                let mut narrow = vec![bf16::ZERO; values.len()];
                narrow.convert_from_f32_slice(values);
                bytemuck::cast_slice(&narrow).to_vec()
            }
        }
    }

    fn read(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::Float32 => bytemuck::pod_collect_to_vec(bytes),
            Self::BFloat16 => {
                let narrow: Vec<bf16> = bytemuck::pod_collect_to_vec(bytes);
                narrow.to_f32_vec()
            }
        }
    }
}

/// Replaces numbers by their sums over all processes; every process finds the same.
///
/// # Errors
/// `Aborted` if another process gave up.
pub fn sum(processes: &dyn Collective, values: &mut [f64]) -> Result<(), CollectiveError> {
    let own: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let all = processes.all_gather(&own)?;
    for (i, value) in values.iter_mut().enumerate() {
        let of = |bytes: &Vec<u8>| {
            let word = bytes.as_chunks().0.get(i).copied();
            f64::from_le_bytes(word.unwrap_or_default())
        };
        *value = all.iter().map(of).sum();
    }
    Ok(())
}

/// For each flag, whether any process has it set.
///
/// # Errors
/// `Aborted` if another process gave up.
pub fn any(processes: &dyn Collective, flags: &mut [bool]) -> Result<(), CollectiveError> {
    let own: Vec<u8> = flags.iter().map(|flag| u8::from(*flag)).collect();
    let all = processes.all_gather(&own)?;
    for (i, flag) in flags.iter_mut().enumerate() {
        *flag = all.iter().any(|bytes| bytes.get(i) == Some(&1));
    }
    Ok(())
}

/// What part of `length` numbers belongs to a process.
pub fn part(length: usize, rank: usize, size: usize) -> Range<usize> {
    length * rank / size..length * (rank + 1) / size
}

/// Sums numbers over all processes and leaves each the part `length · rank / size .. length · (rank + 1) / size`.
///
/// # Errors
/// `Aborted` if another process gave up.
pub fn reduce_scatter(
    processes: &dyn Collective,
    values: &[f32],
    width: Width,
) -> Result<Vec<f32>, CollectiveError> {
    let size = processes.size();
    let parts: Vec<Vec<u8>> = (0..size)
        .map(|rank| width.write(&values[part(values.len(), rank, size)]))
        .collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let mut received = processes.all_to_all(&parts)?.into_iter();
    let mut sum = received.next().map_or_else(Vec::new, |b| width.read(&b));
    for bytes in received {
        for (sum, value) in sum.iter_mut().zip(width.read(&bytes)) {
            *sum += value;
        }
    }
    Ok(sum)
}

/// Everybody's numbers behind one another, the inverse of how [`reduce_scatter`] parts them.
///
/// # Errors
/// `Aborted` if another process gave up.
pub fn all_gather_floats(
    processes: &dyn Collective,
    own: &[f32],
) -> Result<Vec<f32>, CollectiveError> {
    let all = processes.all_gather(&Width::Float32.write(own))?;
    Ok(all
        .iter()
        .flat_map(|bytes| Width::Float32.read(bytes))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alone, Threads};

    #[test]
    fn parts_add_up_in_the_order_of_ranks() {
        for size in 1..=4 {
            std::thread::scope(|scope| {
                for member in Threads::team(size) {
                    scope.spawn(move || {
                        let scale = (member.rank() + 1) as f32;
                        let values: Vec<f32> = (0..10).map(|i| scale * i as f32).collect();
                        for width in [Width::Float32, Width::BFloat16] {
                            let own = reduce_scatter(&member, &values, width).unwrap();
                            let all = all_gather_floats(&member, &own).unwrap();
                            let total = (size * (size + 1) / 2) as f32;
                            let expected: Vec<f32> = (0..10).map(|i| total * i as f32).collect();
                            assert_eq!(all, expected);
                        }
                        let mut sums = [1.0, f64::from(scale)];
                        sum(&member, &mut sums).unwrap();
                        assert_eq!(sums, [size as f64, (size * (size + 1) / 2) as f64]);
                        let mut flags = [false, member.rank() == 0];
                        any(&member, &mut flags).unwrap();
                        assert_eq!(flags, [false, true]);
                    });
                }
            });
        }
    }

    #[test]
    fn sixteen_bits_travel_and_thirty_two_are_added() {
        // 1 + 2^-8 does not fit 16 bits; two of 1 and 2^-8, each of which fits, add up to it.
        let values = [1.0, 1.0 + 2.0_f32.powi(-8)];
        let own = reduce_scatter(&Alone, &values, Width::BFloat16).unwrap();
        assert_eq!(own[0], 1.0);
        assert_ne!(own[1], values[1]);
        std::thread::scope(|scope| {
            for member in Threads::team(2) {
                scope.spawn(move || {
                    let value = [1.0, 2.0_f32.powi(-8)][member.rank()];
                    let own = reduce_scatter(&member, &[value; 2], Width::BFloat16).unwrap();
                    assert_eq!(own, [1.0 + 2.0_f32.powi(-8)]);
                });
            }
        });
    }
}
