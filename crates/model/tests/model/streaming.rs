//! Loading holds the loaded values and one tensor more, whatever lies on disk.
//!
//!     DEEM_STREAM_MB=2048 cargo test --workspace --test model streaming -- --nocapture
use std::fs;
use std::path::Path;
use std::process::Command;

use burn::module::Module;
use burn::tensor::Device;
use deem_model::llama::{Llama, LlamaConfig};
use deem_model::weights::{LazyTensor, LoadOptions, WeightsFile, find, load, write_stream};
use half::bf16;
use safetensors::Dtype;

/// Bytes of this process's memory by a line of /proc/self/status.
fn memory(line: &str) -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let kib = text.lines().find_map(|l| l.strip_prefix(line)).unwrap();
    let kib = kib
        .trim_start_matches(':')
        .trim()
        .strip_suffix(" kB")
        .unwrap();
    kib.trim().parse::<f64>().unwrap() * 1024.0
}

/// A sharded checkpoint of a language model with about `bytes` on disk.
fn generate(folder: &Path, bytes: usize, dtype: Dtype) -> LlamaConfig {
    let width = dtype.bitsize() / 8;
    let layer = 4 * 512 * 512 + 3 * 512 * 2048;
    let config = LlamaConfig {
        vocab_size: 2048,
        hidden_size: 512,
        intermediate_size: 2048,
        num_hidden_layers: bytes / width / layer,
        num_attention_heads: 8,
        ..LlamaConfig::default()
    };
    let model = Llama::new(&config, None, &Device::flex());
    let mut names = Vec::new();
    model.visit(&mut Shapes {
        path: Vec::new(),
        names: &mut names,
    });
    let shards = 4;
    let mut map = serde_json::Map::new();
    for (shard, part) in names.chunks(names.len().div_ceil(shards)).enumerate() {
        let file = format!("model-{:05}-of-{shards:05}.safetensors", shard + 1);
        let mut tensors: Vec<LazyTensor> = part
            .iter()
            .map(|(name, shape)| {
                map.insert(name.clone(), file.clone().into());
                let count: usize = shape.iter().product();
                LazyTensor {
                    name: name.clone(),
                    dtype,
                    shape: shape.clone(),
                    read: Box::new(move || match dtype {
                        Dtype::BF16 => bf16::from_f32(0.5).to_le_bytes().repeat(count),
                        _ => 0.5_f32.to_le_bytes().repeat(count),
                    }),
                }
            })
            .collect();
        write_stream(&mut tensors, &folder.join(file), &Default::default()).unwrap();
    }
    let index = serde_json::json!({ "weight_map": map });
    fs::write(
        folder.join("model.safetensors.index.json"),
        index.to_string(),
    )
    .unwrap();
    config
}

/// Bytes of a model's parameters in memory.
#[derive(Default)]
struct Loaded(usize);

impl burn::module::ModuleVisitor for Loaded {
    fn visit_float<const D: usize>(
        &mut self,
        param: &burn::module::Param<burn::tensor::Tensor<D>>,
    ) {
        self.0 += param.lazy_shape().num_elements() * param.val().dtype().size();
    }
}

struct Shapes<'a> {
    path: Vec<String>,
    names: &'a mut Vec<(String, Vec<usize>)>,
}

impl burn::module::ModuleVisitor for Shapes<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(
        &mut self,
        param: &burn::module::Param<burn::tensor::Tensor<D>>,
    ) {
        self.names
            .push((self.path.join("."), param.lazy_shape().to_vec()));
    }
}

/// Says that this process is the one that is measured.
const ALONE: &str = "DEEM_STREAM_ALONE";

/// Measured in a process of its own: what other tests allocate would count, too.
#[test]
fn the_peak_is_little_more_than_the_loaded_weights() {
    if std::env::var_os(ALONE).is_some() {
        return measure();
    }
    let name = "streaming::the_peak_is_little_more_than_the_loaded_weights";
    let alone = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&alone.stdout);
    println!("{said}");
    let complaint = String::from_utf8_lossy(&alone.stderr);
    assert!(alone.status.success(), "{complaint}");
    assert!(said.contains("1 passed"), "{name} did not run");
}

fn measure() {
    let variable = |name| std::env::var(name).ok();
    let megabytes = variable("DEEM_STREAM_MB").map_or(96, |mb| mb.parse().unwrap());
    let dtype = match variable("DEEM_STREAM_DTYPE").as_deref() {
        Some("f32") => Dtype::F32,
        _ => Dtype::BF16,
    };
    let folder = tempfile::tempdir().unwrap();
    let config = generate(folder.path(), megabytes << 20, dtype);
    let model = Llama::new(&config, None, &Device::flex());
    // From here on the kernel counts the peak anew.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");
    let file = WeightsFile::open(&find(folder.path()).unwrap()).unwrap();
    let model = load(model, &file, &LoadOptions::default()).unwrap();
    let peak = memory("VmHWM") - before;
    let mut loaded = Loaded::default();
    model.visit(&mut loaded);
    let loaded = loaded.0 as f64;
    println!(
        "{dtype}: {:.0} MB stored, {:.0} MB loaded, peak {:.0} MB = {:.3} x loaded",
        file.stored_bytes() as f64 / 1e6,
        loaded / 1e6,
        peak / 1e6,
        peak / loaded
    );
    assert!(peak < 1.15 * loaded, "{:.3} x", peak / loaded);
    assert!(peak > 0.9 * loaded, "the weights are not in memory");
    // Matrices stay in the type that they are stored in; embeddings and norms are widened.
    let wide = 4.0 * model.num_params() as f64;
    match dtype {
        Dtype::BF16 => assert!(loaded < 0.6 * wide, "{loaded} of {wide}"),
        _ => assert_eq!(loaded, wide),
    }
}
