//! Fixed sine-cosine positions (He et al. 2022, MAE, appendix), and resizing between grids.
//!
//! A table is made for one grid in f64 on the host, resized bicubically to whichever grid a map
//! has, and kept on the device from then on.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{DType, Device, Tensor, TensorData};

mod resize;

pub use resize::{Filter, resize};

use resize::resize_table;

/// Sine-cosine encoding of positions `0..length`: sines in the first half of the features, cosines
/// in the second, wavelengths from 2π to 2π · 10000.
///
/// Row-major `[length, features]`; `features` must be even.
pub fn sincos_1d(length: usize, features: usize) -> Vec<f32> {
    let mut table = vec![0.0; length * features];
    for (position, row) in table.chunks_exact_mut(features).enumerate() {
        encode(position as f64, row);
    }
    table.into_iter().map(|v| v as f32).collect()
}

/// Sine-cosine encoding of a `size` × `size` grid: the row in the first half of the features, the
/// column in the second.
///
/// Row-major `[size * size, features]`; `features` must be a multiple of 4.
fn sincos_2d(size: usize, features: usize) -> Vec<f64> {
    let mut table = vec![0.0; size * size * features];
    for (index, cell) in table.chunks_exact_mut(features).enumerate() {
        let (row, column) = cell.split_at_mut(features / 2);
        encode((index / size) as f64, row);
        encode((index % size) as f64, column);
    }
    table
}

fn encode(position: f64, out: &mut [f64]) {
    let half = out.len() / 2;
    for i in 0..half {
        let angle = position / libm::pow(10_000.0, i as f64 / half as f64);
        (out[i], out[half + i]) = libm::sincos(angle);
    }
}

/// The 2-D table of one grid, resized on demand and cached per grid, device and float type.
///
/// Clones share the cache.
#[derive(Clone, Debug)]
pub struct PositionTable {
    grid: usize,
    features: usize,
    cache: Arc<Mutex<Vec<Cached>>>,
}

#[derive(Debug)]
struct Cached {
    size: [usize; 2],
    device: Device,
    dtype: DType,
    table: Tensor<2>,
}

impl PositionTable {
    /// The table of a `grid` × `grid` map.
    ///
    /// # Panics
    /// Unless `features` is a positive multiple of 4 and `grid` is positive.
    pub fn new(grid: usize, features: usize) -> Self {
        assert!(
            features > 0 && features.is_multiple_of(4) && grid > 0,
            "a position table needs a grid and a multiple of 4 features, not {grid} and {features}"
        );
        Self {
            grid,
            features,
            cache: Arc::default(),
        }
    }

    /// The table for a map of `size` = `[height, width]`, as a constant.
    ///
    /// # Shapes
    /// returns `[height * width, features]`
    pub fn at(&self, size: [usize; 2], device: &Device, dtype: DType) -> Tensor<2> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let hit = cache
            .iter()
            .find(|c| c.size == size && c.dtype == dtype && c.device == *device);
        if let Some(hit) = hit {
            return hit.table.clone();
        }
        let table = sincos_2d(self.grid, self.features);
        let table = resize_table(&table, self.features, [self.grid; 2], size, Filter::Bicubic);
        let table = table.into_iter().map(|v| v as f32).collect::<Vec<_>>();
        let shape = [size[0] * size[1], self.features];
        let table = Tensor::<2>::from_data(TensorData::new(table, shape), device)
            .cast(dtype)
            .without_autodiff();
        cache.push(Cached {
            size,
            device: device.clone(),
            dtype,
            table: table.clone(),
        });
        table
    }

    /// Adds the table to a channels-last map.
    ///
    /// # Shapes
    /// `x`: `[batch, height, width, features]`, returned in the same shape.
    pub fn add_to(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, height, width, features] = x.dims();
        let table = self.at([height, width], &x.device(), x.dtype());
        x + table.reshape([1, height, width, features])
    }

    /// Adds the table to a sequence `[global; grid]`; the global token's entry is zero.
    ///
    /// # Shapes
    /// `x`: `[batch, 1 + height * width, features]` with `size` = `[height, width]`, returned in
    /// the same shape.
    pub fn add_to_sequence(&self, x: Tensor<3>, size: [usize; 2]) -> Tensor<3> {
        let (device, dtype) = (x.device(), x.dtype());
        let zero = Tensor::zeros([1, self.features], (&device, dtype));
        let table = Tensor::cat(vec![zero, self.at(size, &device, dtype)], 0);
        x + table.unsqueeze::<3>()
    }
}

/// Reference points of a map: `[1, height * width, 2]`, x and y in 0..1.
pub(crate) fn pixel_centres(
    height: usize,
    width: usize,
    device: &Device,
    dtype: DType,
) -> Tensor<3> {
    let mut points = Vec::with_capacity(height * width * 2);
    for y in 0..height {
        for x in 0..width {
            points.push((x as f32 + 0.5) / width as f32);
            points.push((y as f32 + 0.5) / height as f32);
        }
    }
    let points = TensorData::new(points, [1, height * width, 2]);
    Tensor::<3>::from_data(points, device).cast(dtype)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_cosine_by_hand() {
        let table = sincos_1d(3, 4);
        // Second position; wavelengths 2π and 200π.
        let expected = [1_f64.sin(), 0.01_f64.sin(), 1_f64.cos(), 0.01_f64.cos()];
        for (a, b) in table[4..8].iter().zip(expected) {
            assert!((f64::from(*a) - b).abs() < 1e-7);
        }
        let grid = sincos_2d(2, 4);
        // Row 1, column 0.
        let expected = [1_f64.sin(), 1_f64.cos(), 0.0, 1.0];
        assert_eq!(grid[8..12], expected);
    }

    #[test]
    fn table_is_unchanged_on_its_own_grid_and_cached() {
        let device = Device::flex();
        let table = PositionTable::new(3, 8);
        let own: Vec<f64> = table
            .at([3, 3], &device, DType::F32)
            .into_data()
            .iter::<f64>()
            .collect();
        for (a, b) in own.iter().zip(sincos_2d(3, 8)) {
            assert!((a - b).abs() < 1e-6);
        }
        assert_eq!(table.at([2, 5], &device, DType::F32).dims(), [10, 8]);
        table.at([2, 5], &device, DType::F32);
        assert_eq!(table.cache.lock().unwrap().len(), 2);
    }

    #[test]
    fn global_token_keeps_its_value() {
        let device = Device::flex();
        let x = Tensor::<3>::ones([1, 5, 4], &device);
        let y = PositionTable::new(2, 4).add_to_sequence(x, [2, 2]);
        let y: Vec<f32> = y.into_data().iter::<f32>().collect();
        assert_eq!(y[..4], [1.0; 4]);
        assert_eq!(y[4..8], [1.0, 2.0, 1.0, 2.0]); // row 0, column 0: sin 0, cos 0, sin 0, cos 0
    }
}
