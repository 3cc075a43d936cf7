//! A published checkpoint of a language model: where its head lies, and what cannot be read.

use deem_kernels::PackedMatrix;
use safetensors::Dtype;

use super::model::HEAD;
use super::{Llama, LlamaConfig};
use crate::nn::Linear;
use crate::weights::{LoadOptions, WeightsError, WeightsFile, check, load};

const TABLE: &str = "model.embed_tokens.weight";

/// Where a checkpoint's embedding table and head lie, as transformers 5 decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Each is its own, or the table is both.
    AsConfigured,
    /// They should be one matrix, and it lies under the head's key.
    UnderItsKey,
    /// They should be one matrix, but the file has two that differ: each is its own.
    Differs,
}

impl Head {
    /// What a file says under its configuration.
    pub fn of(config: &LlamaConfig, file: &WeightsFile) -> Self {
        Self::decided(config, file, equal)
    }

    /// The same, by shapes alone where numbers would have to be compared.
    fn by_shapes(config: &LlamaConfig, file: &WeightsFile) -> Self {
        Self::decided(config, file, |file| file.shape(HEAD) == file.shape(TABLE))
    }

    fn decided(config: &LlamaConfig, file: &WeightsFile, equal: fn(&WeightsFile) -> bool) -> Self {
        let has = |key: &str| file.shape(key).is_some();
        match (has(HEAD), has(TABLE)) {
            _ if !config.tie_word_embeddings => Self::AsConfigured,
            (true, false) => Self::UnderItsKey,
            (true, true) if !equal(file) => Self::Differs,
            _ => Self::AsConfigured,
        }
    }

    /// The key of a parameter.
    fn key(self, path: &str) -> &str {
        match self {
            Self::UnderItsKey if path == TABLE => HEAD,
            _ => path,
        }
    }

    /// Keys that may be there and are not read.
    fn unused(self, config: &LlamaConfig) -> Vec<&'static str> {
        let table_is_both = self == Self::AsConfigured && config.tie_word_embeddings;
        let head = table_is_both.then_some(HEAD);
        ["*rotary_emb.inv_freq"].into_iter().chain(head).collect()
    }

    /// A model that can hold what the file says.
    fn fit(self, mut llama: Llama) -> Llama {
        if self == Self::Differs && llama.lm_head.is_none() {
            let table = &llama.model.embed_tokens.weight;
            let [vocabulary, hidden] = table.lazy_shape().dims();
            let device = table.lazy_device();
            llama.lm_head = Some(Linear::new(hidden, vocabulary, false, &device));
        }
        llama
    }
}

impl Llama {
    /// The same model, whose matrices lie in the file and are multiplied as they are wherever the file has them
    /// quantised: for answers, in 32 bits on the CPU. The file stays mapped. To be [filled](Self::filled) with the rest
    /// afterwards.
    ///
    /// # Errors
    /// `NotFinite` naming matrices with numbers that are none.
    pub fn packed(self, config: &LlamaConfig, file: &WeightsFile) -> Result<Self, WeightsError> {
        let head = Head::of(config, file);
        let mut llama = head.fit(self);
        let mut not_finite = Vec::new();
        let mut lying = |path: &str| {
            let key = head.key(path);
            let matrix = file.packed(key)?;
            if !matrix.is_finite() {
                not_finite.push(key.to_owned());
            }
            Some(matrix)
        };
        for (path, layer) in llama.linears_mut() {
            let matrix = lying(&path);
            let fits = |matrix: &PackedMatrix| matrix.shape() == layer.weight.lazy_shape().dims();
            if let Some(matrix) = matrix.filter(fits) {
                layer.pack(matrix);
            }
        }
        let table = &mut llama.model.embed_tokens;
        let matrix = lying(TABLE);
        let fits = |matrix: &PackedMatrix| matrix.shape() == table.weight.lazy_shape().dims();
        if let Some(matrix) = matrix.filter(fits) {
            table.pack(matrix);
        }
        if not_finite.is_empty() {
            return Ok(llama);
        }
        Err(WeightsError::NotFinite {
            path: file.path().into(),
            keys: not_finite,
        })
    }

    /// Paths of the parameters that [`Self::packed`] has taken care of.
    pub fn packed_paths(&self) -> Vec<String> {
        let linears = self.linears().into_iter();
        let packed = linears.filter_map(|(path, layer)| layer.packed().map(|_| path));
        let table = self.model.embed_tokens.packed().map(|_| TABLE.to_owned());
        packed.chain(table).collect()
    }

    /// The model with the values of a published checkpoint; parameters whose path starts with one of `missing` keep
    /// theirs.
    ///
    /// # Errors
    /// `Convert` if the weights are quantised, `Mismatch` naming keys that do not fit.
    pub fn filled(
        self,
        config: &LlamaConfig,
        file: &WeightsFile,
        missing: &[&str],
    ) -> Result<Self, WeightsError> {
        refuse_packed(file)?;
        let head = Head::of(config, file);
        let unused = head.unused(config);
        let key = |path: &str| head.key(path).to_owned();
        let packed = self.packed_paths();
        let packed: Vec<&str> = packed.iter().map(String::as_str).collect();
        let options = LoadOptions {
            rename: Some(&key),
            allow_missing: missing,
            skip: &packed,
            allow_unused: &unused,
            ..LoadOptions::default()
        };
        load(head.fit(self), file, &options)
    }

    /// Says everything of a published checkpoint that does not fit the model, of which no numbers are read.
    ///
    /// # Errors
    /// As [`Self::filled`].
    pub fn check(self, config: &LlamaConfig, file: &WeightsFile) -> Result<(), WeightsError> {
        refuse_packed(file)?;
        let head = Head::by_shapes(config, file);
        let key = |path: &str| head.key(path).to_owned();
        let options = LoadOptions {
            rename: Some(&key),
            allow_unused: &head.unused(config),
            ..LoadOptions::default()
        };
        check(&head.fit(self), file, &options)
    }
}

/// `Convert` for weights that only a library that packed them can read.
fn refuse_packed(file: &WeightsFile) -> Result<(), WeightsError> {
    let Some((key, method)) = packed(file) else {
        return Ok(());
    };
    Err(WeightsError::Convert {
        path: file.path().into(),
        problem: format!(
            "its weights are quantised ({method}: {key}), which is not read; take the original model, or its GGUF file"
        ),
    })
}

/// A key that only quantised weights have, and what quantised them.
fn packed(file: &WeightsFile) -> Option<(&str, &'static str)> {
    const MARKS: [(&str, &str); 8] = [
        (".qweight", "GPTQ or AWQ"),
        (".qzeros", "GPTQ or AWQ"),
        (".absmax", "bitsandbytes"),
        (".SCB", "bitsandbytes"),
        (".weight_packed", "compressed-tensors"),
        (".weight_scale", "FP8"),
        (".weight_scale_inv", "FP8"),
        (".codebooks", "AQLM"),
    ];
    file.keys().find_map(|key| {
        let mark = MARKS.iter().find(|(end, _)| key.ends_with(end));
        let eight = matches!(file.dtype(key), Some(Dtype::F8_E4M3 | Dtype::F8_E5M2));
        let method = mark.map(|(_, method)| *method).or(eight.then_some("FP8"));
        Some((key, method?))
    })
}

fn equal(file: &WeightsFile) -> bool {
    if file.shape(HEAD) != file.shape(TABLE) {
        return false;
    }
    if file.dtype(HEAD) == file.dtype(TABLE) {
        return file.bytes(HEAD) == file.bytes(TABLE);
    }
    file.f32(HEAD) == file.f32(TABLE)
}
