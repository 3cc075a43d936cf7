//! Which files of a published folder hold its weights: one file, or an index and its shards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::WeightsError;

/// Names of the published layouts without their endings, best first.
const STEMS: [&str; 4] = [
    "model",
    "diffusion_pytorch_model",
    "open_clip_model",
    "pytorch_model",
];

/// The weights among the files of a folder, by name: the index and its shards, or the one file.
/// Variants (`….fp16.safetensors`) serve if there is nothing else. `ending` is `safetensors`, or
/// `bin` for pickles.
pub fn weight_files(names: &[String], ending: &str) -> Vec<String> {
    for stem in STEMS.into_iter().chain(["open_clip_pytorch_model"]) {
        let index = format!("{stem}.{ending}.index.json");
        if names.contains(&index) {
            let shards = names.iter().filter(|name| {
                let numbers = name.strip_prefix(stem).and_then(|n| n.strip_suffix(ending));
                numbers.is_some_and(|numbers| numbers.starts_with('-'))
            });
            return [index.clone()].into_iter().chain(shards.cloned()).collect();
        }
        let whole = format!("{stem}.{ending}");
        if names.contains(&whole) {
            return vec![whole];
        }
    }
    let ending = format!(".{ending}");
    let others: Vec<&String> = names
        .iter()
        .filter(|name| name.ends_with(&ending))
        .collect();
    match others[..] {
        [only] => vec![only.clone()],
        _ => Vec::new(),
    }
}

/// The file to open for a folder's weights (an index if there are shards); a file is its own.
///
/// # Errors
/// `Io` if the folder cannot be listed, `Absent` if it holds none, or only pickles.
pub fn find(path: &Path) -> Result<PathBuf, WeightsError> {
    if path.is_file() {
        return Ok(path.into());
    }
    let io = |cause| WeightsError::Io {
        path: path.into(),
        cause,
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(io)? {
        names.push(
            entry
                .map_err(io)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort();
    for ending in ["safetensors", "gguf"] {
        if let Some(found) = weight_files(&names, ending).first() {
            return Ok(path.join(found));
        }
    }
    let pickled = [".bin", ".pt", ".pth"];
    let pickle = names
        .iter()
        .find(|n| pickled.iter().any(|p| n.ends_with(p)));
    Err(WeightsError::Absent {
        path: path.into(),
        expected: match pickle {
            Some(name) => format!(
                "model.safetensors or another published name, found the pickle {name}; \
                 `deem convert {} OUT` makes safetensors of it",
                path.display()
            ),
            None => "model.safetensors, model.safetensors.index.json or another published name, \
                     or a single .safetensors or .gguf file"
                .into(),
        },
    })
}

/// `*.index.json`: which shard holds which key.
#[derive(Debug, Deserialize)]
pub(super) struct ShardIndex {
    weight_map: BTreeMap<String, String>,
    #[serde(skip)]
    path: PathBuf,
}

impl ShardIndex {
    /// Reads an index; its shards must lie beside it.
    pub(super) fn read(path: &Path) -> Result<Self, WeightsError> {
        let text = fs::read_to_string(path).map_err(|cause| WeightsError::Io {
            path: path.into(),
            cause,
        })?;
        let parsed: Result<Self, _> = serde_json::from_str(&text);
        let mut index = parsed.map_err(|error| WeightsError::Index {
            path: path.into(),
            problem: error.to_string(),
        })?;
        index.path = path.into();
        if index.weight_map.is_empty() {
            return Err(index.wrong("`weight_map` is empty".into()));
        }
        let astray = |name: &&String| {
            let mut parts = Path::new(name).components();
            !matches!(
                (parts.next(), parts.next()),
                (Some(Component::Normal(_)), None)
            )
        };
        if let Some(name) = index.weight_map.values().find(astray) {
            return Err(index.wrong(format!(
                "shard {name:?} is not the name of a file beside it"
            )));
        }
        Ok(index)
    }

    /// Shards, and the keys that are to be in each.
    pub(super) fn shards(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (key, shard) in &self.weight_map {
            shards.entry(shard).or_default().push(key);
        }
        shards
    }

    pub(super) fn wrong(&self, problem: String) -> WeightsError {
        WeightsError::Index {
            path: self.path.clone(),
            problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{StateTensor, WeightsFile, write};
    use safetensors::Dtype;

    fn names(of: &[&str]) -> Vec<String> {
        of.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn published_layouts() {
        let choose = |of: &[&str]| weight_files(&names(of), "safetensors");
        let shards = [
            "config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
        ];
        assert_eq!(choose(&shards).len(), 3);
        assert_eq!(choose(&shards)[0], "model.safetensors.index.json");
        assert_eq!(
            choose(&[
                "diffusion_pytorch_model.fp16.safetensors",
                "diffusion_pytorch_model.safetensors",
            ]),
            ["diffusion_pytorch_model.safetensors"]
        );
        assert_eq!(choose(&["own.safetensors", "x.bin"]), ["own.safetensors"]);
        assert!(choose(&["a.safetensors", "b.safetensors"]).is_empty());
        let pickles = names(&[
            "pytorch_model-00001-of-00001.bin",
            "pytorch_model.bin.index.json",
        ]);
        assert_eq!(weight_files(&pickles, "bin").len(), 2);
    }

    fn shard(folder: &Path, name: &str, key: &str) {
        let tensor = StateTensor {
            name: key.into(),
            shape: vec![2],
            values: vec![1.5, -2.0],
        };
        write(
            &[tensor],
            &folder.join(name),
            Dtype::F16,
            Default::default(),
        )
        .unwrap();
    }

    #[test]
    fn shards_are_one_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        shard(folder.path(), "model-00001-of-00002.safetensors", "a");
        shard(folder.path(), "model-00002-of-00002.safetensors", "b");
        let index = |map: &str| {
            let text = format!(r#"{{"metadata": {{}}, "weight_map": {map}}}"#);
            fs::write(at("model.safetensors.index.json"), text).unwrap();
            WeightsFile::open(&find(folder.path()).unwrap())
        };
        let (first, second) = (
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        );
        let file = index(&format!(r#"{{"a": "{first}", "b": "{second}"}}"#)).unwrap();
        assert_eq!(file.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(file.f32("b").unwrap(), [1.5, -2.0]);
        assert_eq!(file.f32("b").unwrap(), [1.5, -2.0], "pages come back");
        assert_eq!(file.stored_bytes(), 8);

        for (map, told) in [
            (
                format!(r#"{{"a": "{first}", "c": "{second}"}}"#),
                "c: expected in",
            ),
            (r#"{"a": "../secret.safetensors"}"#.into(), "secret"),
            ("{}".into(), "empty"),
            ("3".into(), "invalid type"),
            (r#"{"a": "gone.safetensors"}"#.into(), "gone.safetensors"),
        ] {
            let error = index(&map).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        shard(folder.path(), second, "a");
        let error = index(&format!(r#"{{"a": "{first}", "b": "{second}"}}"#)).unwrap_err();
        assert!(error.to_string().contains("another shard"), "{error}");
    }

    #[test]
    fn a_folder_without_weights_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = || find(folder.path()).unwrap_err().to_string();
        assert!(error().contains("model.safetensors"), "{}", error());
        fs::write(folder.path().join("pytorch_model.bin"), "x").unwrap();
        assert!(error().contains("deem convert"), "{}", error());
    }
}
