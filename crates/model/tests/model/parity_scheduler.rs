//! Schedulers against diffusers (tools/parity/export_diffusion.py).

use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use deem_model::scheduler::{
    Ddim, DdimConfig, DpmSolver, DpmSolverConfig, NoiseSchedule, Sampler, from_json,
};
use deem_model::weights::WeightsFile;
use serde_json::Value;

struct Golden {
    file: WeightsFile,
    cases: Value,
}

impl Golden {
    fn open() -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let text = std::fs::read_to_string(folder.join("scheduler.json")).unwrap();
        Self {
            file: WeightsFile::open(&folder.join("scheduler.safetensors")).unwrap(),
            cases: serde_json::from_str(&text).unwrap(),
        }
    }

    fn cases(&self, kind: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.cases[kind].as_object().unwrap().iter()
    }

    fn tensor<const D: usize>(&self, key: &str) -> Tensor<D> {
        let shape: [usize; D] = self.file.shape(key).unwrap().try_into().unwrap();
        let data = TensorData::new(self.file.f32(key).unwrap(), shape);
        Tensor::from_data(data, &Device::flex())
    }

    fn compare<const D: usize>(&self, key: &str, found: Tensor<D>) -> f64 {
        let found: Vec<f32> = found.try_into_vec_as::<f32>().unwrap();
        let expected = self.file.f32(key).unwrap();
        assert_eq!(found.len(), expected.len());
        let norm = |values: Vec<f64>| values.iter().map(|v| v * v).sum::<f64>().sqrt();
        let pairs = found.iter().zip(&expected);
        let difference = norm(pairs.map(|(a, b)| f64::from(a - b)).collect());
        let error = difference / norm(expected.iter().map(|v| f64::from(*v)).collect());
        assert!(error < 1e-4, "{key}: {error:.1e}");
        error
    }

    /// Runs a sampler on the fixed network outputs and compares every sample.
    fn run(&self, key: &str, case: &Value, mut sampler: impl Sampler) -> f64 {
        let expected: Vec<usize> = serde_json::from_value(case["timesteps"].clone()).unwrap();
        assert_eq!(sampler.timesteps(), expected, "{key}");
        let (outputs, noises) = (self.tensor::<5>("outputs"), self.tensor::<5>("noises"));
        let at = |tensor: &Tensor<5>, index: usize| {
            tensor
                .clone()
                .slice_dim(0, index..index + 1)
                .squeeze_dim::<4>(0)
        };
        let mut sample = self.tensor::<4>("start");
        let mut samples = Vec::new();
        for index in 0..expected.len() {
            let noise = sampler.stochastic().then(|| at(&noises, index));
            sample = sampler
                .step(index, sample, at(&outputs, index), noise)
                .unwrap();
            samples.push(sample.clone());
        }
        self.compare(key, Tensor::stack::<5>(samples, 0))
    }
}

fn parse<T: serde::de::DeserializeOwned>(case: &Value) -> T {
    from_json(&case["config"].to_string()).unwrap()
}

fn steps(case: &Value) -> usize {
    case["steps"].as_u64().unwrap() as usize
}

#[test]
fn noise_and_velocity() {
    let golden = Golden::open();
    let mut worst = 0.0_f64;
    for (name, case) in golden.cases("noise") {
        let schedule = NoiseSchedule::new(&parse(case)).unwrap();
        let timesteps: Vec<usize> = serde_json::from_value(case["timesteps"].clone()).unwrap();
        let (sample, noise) = (golden.tensor::<3>("sample"), golden.tensor::<3>("noise"));
        let noisy = schedule
            .add_noise(sample.clone(), noise.clone(), &timesteps)
            .unwrap();
        worst = worst.max(golden.compare(&format!("noise.{name}.noisy"), noisy));
        let velocity = schedule.velocity(sample, noise, &timesteps).unwrap();
        worst = worst.max(golden.compare(&format!("noise.{name}.velocity"), velocity));
    }
    println!("noise schedules: {worst:.1e}");
}

#[test]
fn ddim() {
    let golden = Golden::open();
    let mut worst = 0.0_f64;
    for (name, case) in golden.cases("ddim") {
        let sampler = Ddim::new(&parse::<DdimConfig>(case), steps(case)).unwrap();
        worst = worst.max(golden.run(&format!("ddim.{name}"), case, sampler));
    }
    println!("DDIM: {worst:.1e}");
}

#[test]
fn dpm_solver() {
    let golden = Golden::open();
    let mut worst = 0.0_f64;
    for (name, case) in golden.cases("dpm") {
        let sampler = DpmSolver::new(&parse::<DpmSolverConfig>(case), steps(case)).unwrap();
        worst = worst.max(golden.run(&format!("dpm.{name}"), case, sampler));
    }
    println!("DPM-Solver: {worst:.1e}");
}
