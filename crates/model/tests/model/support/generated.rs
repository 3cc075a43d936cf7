//! Weights that follow from their keys (tools/parity/export_feature_networks.py): networks of full size, small files.

use std::collections::HashMap;
use std::path::Path;

use deem_model::weights::{Dtype, StateTensor, write};
use serde_json::Value;

/// Writes the weights whose keys and shapes a golden file lists.
pub fn write_generated(golden: &Path, output: &Path) {
    let json: Value = serde_json::from_str(&std::fs::read_to_string(golden).unwrap()).unwrap();
    let shapes = json["shapes"].as_object().unwrap();
    let tensors = shapes.iter().map(|(key, shape)| {
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
        StateTensor {
            values: values(key, &shape),
            name: key.clone(),
            shape,
        }
    });
    let tensors: Vec<StateTensor> = tensors.collect();
    write(&tensors, output, Dtype::F32, HashMap::new()).unwrap();
}

fn values(key: &str, shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product();
    if key.ends_with("num_batches_tracked") {
        return vec![0.0; count];
    }
    let (centre, spread) = if key.ends_with("running_var") {
        (1.0, 0.5)
    } else if shape.len() > 1 {
        let inputs: usize = shape[1..].iter().product();
        (0.0, (6.0 / inputs as f64).sqrt())
    } else if key.ends_with("weight") {
        (1.0, 0.3)
    } else {
        (0.0, 0.2)
    };
    let seed = key.bytes().fold(0u32, |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    let noise = |at: usize| {
        let mut x = (at as u32).wrapping_mul(2_654_435_761).wrapping_add(seed);
        x = (x ^ (x >> 15)).wrapping_mul(2_246_822_519);
        x = (x ^ (x >> 13)).wrapping_mul(3_266_489_917);
        x ^= x >> 16;
        f64::from(x) / 2_147_483_648.0 - 1.0
    };
    (0..count)
        .map(|at| (centre + spread * noise(at)) as f32)
        .collect()
}
