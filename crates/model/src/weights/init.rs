//! Fresh values for a module: all random initialisation happens here.
//!
//! Each parameter is drawn from its own generator, seeded by the run's seed and its path, so that
//! adding a module elsewhere does not change it.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::load::set;

/// How a parameter is filled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Keep the constructor's constant (zeros; ones for a norm's weight).
    Keep,
    /// Every entry the same.
    Constant(f32),
    /// Independent normal entries with mean zero.
    Normal(f32),
    /// Independent normal entries: mean, standard deviation.
    NormalAround(f32, f32),
    /// Independent uniform entries in ± the bound.
    Uniform(f32),
    /// Normal with standard deviation `gain / √fan_in`.
    FanIn(f32),
}

/// The first rule whose pattern occurs in a parameter's path decides; `*` in a pattern stands for any
/// text.
pub type Rules<'a> = &'a [(&'a str, Fill)];

/// Fills every parameter of `module`.
///
/// Vectors keep their constructor's constant, matrices and kernels are `FanIn(1)`, embedding tables
/// (`embed` in the path) `Normal(0.02)`, unless a rule says otherwise.
pub fn initialize<M: Module>(module: M, seed: u64, rules: Rules) -> M {
    module.map(&mut Initializer {
        seed,
        rules,
        keep: false,
        path: Vec::new(),
    })
}

/// As [`initialize`], for the parameters that nothing has been loaded into. The others stay as they
/// are, and get no memory in between.
pub fn initialize_rest<M: Module>(module: M, seed: u64, rules: Rules) -> M {
    module.map(&mut Initializer {
        seed,
        rules,
        keep: true,
        path: Vec::new(),
    })
}

struct Initializer<'a> {
    seed: u64,
    rules: Rules<'a>,
    /// Whether parameters that have a value keep it.
    keep: bool,
    path: Vec<String>,
}

impl Initializer<'_> {
    fn fill(&self, path: &str, rank: usize) -> Fill {
        let rule = self.rules.iter().find(|(pattern, _)| occurs(pattern, path));
        match rule {
            Some((_, fill)) => *fill,
            None if rank < 2 => Fill::Keep,
            None if path.contains("embed") => Fill::Normal(0.02),
            None => Fill::FanIn(1.0),
        }
    }
}

impl ModuleMapper for Initializer<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.keep && param.is_initialized() {
            return param;
        }
        let path = self.path.join(".");
        let shape = param.lazy_shape();
        let count = shape.num_elements();
        let mut rng = path_rng(self.seed, &path);
        let values = match self.fill(&path, D) {
            Fill::Keep => return param,
            Fill::Constant(value) => vec![value; count],
            Fill::Normal(std) => normal(&mut rng, count, std),
            Fill::NormalAround(mean, std) => {
                let entries = normal(&mut rng, count, std).into_iter();
                entries.map(|entry| mean + entry).collect()
            }
            Fill::Uniform(bound) => (0..count)
                .map(|_| (rng.random::<f32>() * 2.0 - 1.0) * bound)
                .collect(),
            Fill::FanIn(gain) => {
                let fan_in = count / shape[0].max(1);
                normal(&mut rng, count, gain / (fan_in.max(1) as f32).sqrt())
            }
        };
        set(param, TensorData::new(values, shape))
    }
}

/// Whether the pieces of a pattern occur in a path one after the other.
fn occurs(pattern: &str, path: &str) -> bool {
    let mut rest = path;
    pattern.split('*').all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

/// The generator of what belongs to a path.
pub(crate) fn path_rng(seed: u64, path: &str) -> ChaCha8Rng {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update(path.as_bytes());
    ChaCha8Rng::from_seed(hasher.finalize().into())
}

/// `count` normal draws with the given standard deviation (Box–Muller, f64 inside).
pub fn normal(rng: &mut impl Rng, count: usize, std: f32) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = (-2.0 * libm::log(1.0 - rng.random::<f64>())).sqrt();
        let (sin, cos) = libm::sincos(std::f64::consts::TAU * rng.random::<f64>());
        values.push((radius * cos) as f32 * std);
        values.push((radius * sin) as f32 * std);
    }
    values.truncate(count);
    values
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::nn::Linear;

    fn values(module: &Linear) -> Vec<f32> {
        module.weight.val().into_data().try_into_vec().unwrap()
    }

    #[test]
    fn patterns_may_skip_text() {
        assert!(occurs(
            "llama.*offsets.bias",
            "llama.layers.0.mmfs.offsets.bias"
        ));
        assert!(!occurs(
            "unet.*offsets.bias",
            "llama.layers.0.mmfs.offsets.bias"
        ));
        assert!(!occurs("bias*offsets", "llama.offsets.bias"));
    }

    #[test]
    fn values_depend_on_seed_and_path_only() {
        let device = Device::flex();
        let make = |seed| values(&initialize(Linear::new(64, 8, true, &device), seed, &[]));
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
        let spread = make(1).iter().map(|v| v * v).sum::<f32>() / 512.0;
        assert!(
            (spread * 64.0 - 1.0).abs() < 0.2,
            "fan-in variance, {spread}"
        );
    }

    #[test]
    fn what_was_loaded_stays() {
        let device = Device::flex();
        let rules: Rules = &[("weight", Fill::Constant(2.0))];
        let fresh = || Linear::new(2, 1, true, &device);
        let filled = initialize(fresh(), 0, &[("weight", Fill::Constant(3.0))]);
        assert_eq!(values(&initialize_rest(filled, 0, rules)), [3.0, 3.0]);
        assert_eq!(values(&initialize_rest(fresh(), 0, rules)), [2.0, 2.0]);
    }

    #[test]
    fn the_first_matching_rule_wins() {
        let device = Device::flex();
        let rules = [
            ("weight", Fill::Constant(2.0)),
            ("weight", Fill::Constant(3.0)),
        ];
        let module = initialize(Linear::new(2, 1, true, &device), 0, &rules);
        assert_eq!(values(&module), [2.0, 2.0]);
    }
}
