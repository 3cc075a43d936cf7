//! Readers of weights and of public configurations, as fuzz targets and damaged files drive them.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use deem_model::autoencoder::AutoencoderConfig;
use deem_model::clip::config::{ClipTextConfig, ClipVisionConfig, ConvNextConfig};
use deem_model::llama::LlamaConfig;
use deem_model::perceiver::PerceiverConfig;
use deem_model::scheduler::{Ddim, DdimConfig, DpmSolver, DpmSolverConfig, from_json};
use deem_model::unet::UNetConfig;
use deem_model::weights::gguf::GgufFile;
use deem_model::weights::torch::TorchFile;
use deem_model::weights::{WeightsFile, read_tensors, to_deem};
use serde::de::DeserializeOwned;

/// The file that is written and read, without its ending.
pub const NAME: &str = "fuzzed";

/// The error's text, if there is one.
pub type Read = Result<(), String>;

fn told(error: impl Display) -> String {
    error.to_string()
}

fn written(folder: &Path, ending: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join(format!("{NAME}.{ending}"));
    fs::write(&path, bytes).expect("a scratch folder");
    path
}

/// A safetensors file, and all its numbers.
pub fn safetensors(folder: &Path, bytes: &[u8]) -> Read {
    let file = WeightsFile::open(&written(folder, "safetensors", bytes)).map_err(told)?;
    for key in file.keys() {
        let size = file.bytes(key).map_or(0, |bytes| bytes.len());
        let numbers = file.f32(key).map_or(0, |numbers| numbers.len());
        let count: usize = file.shape(key).unwrap_or_default().iter().product();
        assert!(size >= count && (numbers == 0 || numbers == count), "{key}");
        file.i64(key);
    }
    Ok(())
}

/// An index of shards; `shard.safetensors` lies beside it.
pub fn index(folder: &Path, bytes: &[u8]) -> Read {
    let path = written(folder, "safetensors.index.json", bytes);
    WeightsFile::open(&path).map(drop).map_err(told)
}

/// What `torch.save` wrote, and all its numbers.
pub fn pickle(folder: &Path, bytes: &[u8]) -> Read {
    let file = TorchFile::open(&written(folder, "pt", bytes)).map_err(told)?;
    for tensor in file.tensors() {
        let count: usize = tensor.shape.iter().product();
        assert_eq!(file.bytes(tensor).len(), count * tensor.dtype.bitsize() / 8);
    }
    Ok(())
}

/// A GGUF file, and all its numbers.
pub fn gguf(folder: &Path, bytes: &[u8]) -> Read {
    gguf_tensors(folder, bytes).map(drop)
}

/// A GGUF file of a language model, and what the model is.
pub fn gguf_model(folder: &Path, bytes: &[u8]) -> Read {
    let file = gguf_tensors(folder, bytes)?;
    file.llama_config().map(drop).map_err(told)
}

fn gguf_tensors(folder: &Path, bytes: &[u8]) -> Result<GgufFile, String> {
    let file = GgufFile::open(&written(folder, "gguf", bytes)).map_err(told)?;
    for tensor in file.tensors() {
        let count: usize = tensor.shape().iter().product();
        let numbers = file.f32(tensor.name()).map_or(0, |numbers| numbers.len());
        assert_eq!(numbers, count, "{}", tensor.name());
    }
    Ok(file)
}

/// A safetensors file with the keys of an official training checkpoint.
pub fn official(folder: &Path, bytes: &[u8]) -> Read {
    let path = written(folder, "safetensors", bytes);
    let file = [WeightsFile::open(&path).map_err(told)?];
    let (kept, _) = to_deem(read_tensors(&[], &file), &path).map_err(told)?;
    for tensor in kept {
        assert_eq!((tensor.read)().len(), tensor.len(), "{}", tensor.name);
    }
    Ok(())
}

/// A `config.json`, as every class of network may read it.
pub fn networks(bytes: &[u8]) -> Read {
    [
        valid(bytes, ClipVisionConfig::validate),
        valid(bytes, ClipTextConfig::validate),
        valid(bytes, ConvNextConfig::validate),
        valid(bytes, PerceiverConfig::validate),
        valid(bytes, LlamaConfig::validate),
        valid(bytes, UNetConfig::validate),
    ]
    .into_iter()
    .collect()
}

/// A `config.json` of an autoencoder, whose fields have the UNet's names and other values.
pub fn autoencoder(bytes: &[u8]) -> Read {
    valid(bytes, AutoencoderConfig::validate)
}

fn valid<C: DeserializeOwned, E: Display>(
    bytes: &[u8],
    validate: impl Fn(&C) -> Result<(), E>,
) -> Read {
    let config = serde_json::from_slice(bytes).map_err(told)?;
    validate(&config).map_err(told)
}

/// A `scheduler_config.json`, as both samplers.
pub fn scheduler(bytes: &[u8]) -> Read {
    let text = &String::from_utf8_lossy(bytes);
    let config: DdimConfig = from_json(text).map_err(told)?;
    Ddim::new(&config, 7).map_err(told)?;
    let config: DpmSolverConfig = from_json(text).map_err(told)?;
    DpmSolver::new(&config, 7).map(drop).map_err(told)
}
