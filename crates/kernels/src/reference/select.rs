use burn::tensor::{Int, Tensor};

/// Entries of the first axis; see [`crate::select`].
pub fn select<const D: usize>(x: Tensor<D>, rows: &[usize]) -> Tensor<D> {
    let rows: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
    let rows = Tensor::<1, Int>::from_ints(rows.as_slice(), &x.device());
    x.select(0, rows)
}
