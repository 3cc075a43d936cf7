//! Dropout of an adapter's input, as a function of (seed, layer, micro-batch): a layer that is computed again in the
//! backward pass, or in a resumed run, drops what it dropped before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::{Tensor, TensorData};
use rand::RngExt;

use crate::weights::init::path_rng;

/// Says for which micro-batch the adapters of a model drop inputs; they drop none outside training. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Masks(Arc<AtomicU64>);

impl Masks {
    /// Inputs are dropped as for micro-batch `index` from now on; `None`: none are.
    pub fn set(&self, index: Option<u64>) {
        // 0 stands for none.
        self.0.store(index.map_or(0, |i| i + 1), Ordering::SeqCst);
    }

    fn index(&self) -> Option<u64> {
        self.0.load(Ordering::SeqCst).checked_sub(1)
    }
}

/// Dropout of one layer.
#[derive(Clone, Debug)]
pub(super) struct Dropout {
    pub share: f64,
    pub seed: u64,
    pub path: String,
    pub masks: Masks,
}

impl Dropout {
    /// `x`, or in training `x` with a share of its values zeroed and the others scaled up.
    pub fn apply<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if self.share == 0.0 {
            return x;
        }
        let Some(index) = self.masks.index() else {
            return x;
        };
        let mut rng = path_rng(self.seed, &self.path);
        rng.set_stream(index);
        let kept = (1.0 / (1.0 - self.share)) as f32;
        let mut value = || match rng.random::<f64>() < self.share {
            true => 0.0,
            false => kept,
        };
        let values: Vec<f32> = (0..x.shape().num_elements()).map(|_| value()).collect();
        let mask = TensorData::new(values, x.dims());
        let mask = Tensor::from_data(mask, (&x.device(), x.dtype()));
        x * mask
    }
}
