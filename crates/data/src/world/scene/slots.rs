//! Where the objects of an arrangement stand.

use super::spec::Arrangement;
use crate::dice::Dice;

/// Centres of the objects in reading order, and their size, for an arrangement of `total` objects.
pub(crate) fn slots(
    arrangement: Arrangement,
    total: usize,
    dice: &mut Dice,
) -> (Vec<[f32; 2]>, f32) {
    let jitter = |dice: &mut Dice, by: f32| dice.between(-by, by);
    let (mut centers, size): (Vec<[f32; 2]>, f32) = match (arrangement, total) {
        (Arrangement::Single, _) | (_, 0) => {
            let size = dice.between(0.62, 0.9);
            let free = (1.0 - size) / 2.0 * 0.8;
            let free = free.min(0.09);
            (
                vec![[0.5 + jitter(dice, free), 0.5 + jitter(dice, free)]],
                size,
            )
        }
        (Arrangement::Corner, _) => (
            vec![dice.one([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])],
            dice.between(0.41, 0.47),
        ),
        (Arrangement::Grid, n) if n <= 4 => {
            let mut quarters = vec![[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]];
            if dice.chance(0.5) {
                quarters.swap(1, 2);
            }
            quarters.truncate(n);
            (quarters, dice.between(0.41, 0.47))
        }
        (Arrangement::Grid, n) => {
            let mut cells: Vec<[f32; 2]> = (0..6)
                .map(|i| {
                    [
                        1.0 / 6.0 + (i % 3) as f32 / 3.0,
                        0.27 + 0.46 * (i / 3) as f32,
                    ]
                })
                .collect();
            cells.truncate(n);
            (cells, dice.between(0.3, 0.33))
        }
        (_, n) => {
            let drift = jitter(dice, 0.06);
            let falling = dice.chance(0.5);
            let step = |i: usize| (i as f32 + 0.5) / n as f32;
            let line = (0..n).map(|i| match arrangement {
                Arrangement::Row => [step(i), 0.5 + drift],
                Arrangement::Column => [0.5 + drift, step(i)],
                _ if falling => [step(i), step(i)],
                _ => [step(i), 1.0 - step(i)],
            });
            let size = if n <= 2 {
                dice.between(0.41, 0.47)
            } else {
                dice.between(0.3, 0.33).min(0.96 / n as f32)
            };
            (line.collect(), size)
        }
    };
    let by = if total == 4 || total < 3 { 0.02 } else { 0.004 };
    if arrangement != Arrangement::Single {
        for center in &mut centers {
            center[0] += jitter(dice, by);
            center[1] += jitter(dice, by);
        }
    }
    (centers, (size * 32.0).floor() / 32.0)
}
