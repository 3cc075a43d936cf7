//! Which files of a published folder hold its weights: one file, or an index and its shards.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::WeightsError;
use crate::published::is_lfs_pointer;

/// Names of the published layouts without their endings, best first.
const STEMS: [&str; 4] = [
    "model",
    "diffusion_pytorch_model",
    "open_clip_model",
    "pytorch_model",
];

/// The weights among the files of a folder, by name: the one file, or the index of shards, which names the others
/// ([`indexed`]). A whole file wins over an index, which then is left over. Variants (`….fp16.safetensors`) serve
/// if there is nothing else. `ending` is `safetensors`, or `bin` for pickles.
pub fn weight_files(names: &[String], ending: &str) -> Vec<String> {
    let there = |name: String| names.contains(&name).then_some(name);
    for stem in STEMS.into_iter().chain(["open_clip_pytorch_model"]) {
        let plain = there(format!("{stem}.{ending}"));
        let plain = plain.or_else(|| there(format!("{stem}.{ending}.index.json")));
        let found = plain.or_else(|| {
            let mut variants = variants(names, stem, ending);
            variants.find_map(|variant| {
                let whole = there(format!("{stem}.{variant}.{ending}"));
                whole.or_else(|| there(format!("{stem}.{ending}.index.{variant}.json")))
            })
        });
        if let Some(found) = found {
            return vec![found];
        }
    }
    let ending = format!(".{ending}");
    let others: Vec<&String> = names
        .iter()
        .filter(|name| name.ends_with(&ending))
        .collect();
    match others[..] {
        [only] if !is_part(only) => vec![only.clone()],
        _ => Vec::new(),
    }
}

/// What stands for a variant in the names of a folder, 16 bits first.
fn variants<'a>(
    names: &'a [String],
    stem: &'a str,
    ending: &'a str,
) -> impl Iterator<Item = &'a str> {
    let variant = move |name: &'a String| {
        let rest = name.strip_prefix(stem)?.strip_prefix('.')?;
        let whole = rest
            .strip_suffix(ending)
            .and_then(|rest| rest.strip_suffix('.'));
        let index = || {
            rest.strip_prefix(ending)?
                .strip_prefix(".index.")?
                .strip_suffix(".json")
        };
        whole
            .or_else(index)
            .filter(|variant| !variant.contains(['.', '-']))
    };
    let mut found: Vec<&str> = names.iter().filter_map(variant).collect();
    let halves = ["fp16", "bf16"];
    found.sort_by_key(|found| {
        halves
            .iter()
            .position(|half| half == found)
            .unwrap_or(halves.len())
    });
    found.into_iter()
}

/// Whether a name is that of one shard of several, as `model-00001-of-00002.safetensors`.
fn is_part(name: &str) -> bool {
    let number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    name.split_once("-of-").is_some_and(|(before, after)| {
        let (index, count) = (before.rsplit('-').next(), after.get(..5));
        index.is_some_and(number) && count.is_some_and(|count| number(count) && count != "00001")
    })
}

/// The files that the indices among some files of a folder name, besides themselves. Whatever is wrong with an
/// index is said when it is opened.
pub fn indexed(folder: &Path, files: &[String]) -> Vec<String> {
    let indices = files.iter().filter(|file| is_index(Path::new(file)));
    let shards = indices.flat_map(|file| {
        let beside = file.rfind('/').map_or("", |end| &file[..=end]).to_owned();
        let index = ShardIndex::read(&folder.join(file));
        let shards: Vec<String> = index.map_or_else(
            |_| Vec::new(),
            |index| index.shards().into_keys().map(str::to_owned).collect(),
        );
        shards
            .into_iter()
            .map(move |shard| format!("{beside}{shard}"))
    });
    shards.collect()
}

/// Whether a file is an index of shards.
pub(super) fn is_index(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.contains(".index.") && name.ends_with(".json")
}

/// The shards that an index lists.
///
/// # Errors
/// `Io` or `Index` if it cannot be read, `Index` naming a shard that is not there.
pub fn shards(index: &Path) -> Result<Vec<PathBuf>, WeightsError> {
    let read = ShardIndex::read(index)?;
    let paths = read.shards().into_keys().map(|name| {
        let path = index.with_file_name(name);
        if path.is_file() {
            return Ok(path);
        }
        Err(read.wrong(format!("it names {name}, which is not there")))
    });
    paths.collect()
}

/// Checks that the shards of an index hold all tensors that it lists.
///
/// # Errors
/// `Index` naming one that is missing.
pub fn check_shards(index: &Path, found: &[&str]) -> Result<(), WeightsError> {
    let read = ShardIndex::read(index)?;
    let found: HashSet<&str> = found.iter().copied().collect();
    let lost = read
        .weight_map
        .iter()
        .find(|(key, _)| !found.contains(key.as_str()));
    match lost {
        None => Ok(()),
        Some((key, shard)) => Err(read.wrong(format!("{key}: expected in {shard}, not there"))),
    }
}

/// Endings of pickles.
const PICKLED: [&str; 3] = ["bin", "pt", "pth"];

/// The pickles among the files of a folder, but for shards.
pub fn pickles(names: &[String]) -> Vec<&str> {
    let pickled = |name: &&str| {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending);
        ending.is_some_and(|ending| PICKLED.contains(&ending)) && !is_part(name)
    };
    names.iter().map(String::as_str).filter(pickled).collect()
}

/// The weights of a folder, if they are pickled under a published name.
fn chosen_pickle(names: &[String]) -> Option<String> {
    let mut chosen = PICKLED
        .iter()
        .flat_map(|ending| weight_files(names, ending));
    chosen.next()
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
    let pickles = pickles(&names);
    let found = match (chosen_pickle(&names), pickles.as_slice()) {
        (Some(name), _) => Some((name, path.to_owned())),
        (None, [first, ..]) => Some((pickles.join(", "), path.join(first))),
        (None, []) => None,
    };
    Err(WeightsError::Absent {
        path: path.into(),
        expected: match found {
            Some((pickles, input)) => format!(
                "model.safetensors or another published name, found pickles ({pickles}); `deem convert {} OUT` makes \
                 safetensors of them",
                input.display()
            ),
            None => match names.iter().find(|name| is_part(name)) {
                Some(part) => format!(
                    "an index of the shards beside {part}, which is one of several; download \
                     model.safetensors.index.json (of pickles pytorch_model.bin.index.json), too"
                ),
                None => {
                    "model.safetensors, model.safetensors.index.json or another published name, \
                         or a single .safetensors or .gguf file"
                        .into()
                }
            },
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
        if is_lfs_pointer(text.as_bytes()) {
            return Err(WeightsError::Pointer { path: path.into() });
        }
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
        assert_eq!(choose(&shards), ["model.safetensors.index.json"]);
        let left_over = ["model.safetensors", "model.safetensors.index.json"];
        assert_eq!(choose(&left_over), ["model.safetensors"]);
        let half = [
            "diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
            "diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
            "diffusion_pytorch_model.non_ema.safetensors",
            "diffusion_pytorch_model.safetensors.index.fp16.json",
        ];
        assert_eq!(choose(&half), half[3..]);
        assert_eq!(choose(&half[..3]), half[2..3]);
        let one_of_two = ["model-00001-of-00002.safetensors"];
        assert!(choose(&one_of_two).is_empty());
        assert_eq!(choose(&["model-00001-of-00001.safetensors"]).len(), 1);
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
        assert_eq!(
            weight_files(&pickles, "bin"),
            ["pytorch_model.bin.index.json"]
        );
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
    fn an_index_names_its_shards_and_misses_them() {
        let folder = tempfile::tempdir().unwrap();
        let unet = folder.path().join("unet");
        fs::create_dir(&unet).unwrap();
        let index = unet.join("x.safetensors.index.fp16.json");
        let map =
            r#"{"weight_map": {"a": "1.safetensors", "b": "2.safetensors", "c": "1.safetensors"}}"#;
        fs::write(&index, map).unwrap();
        let files = names(&["unet/config.json", "unet/x.safetensors.index.fp16.json"]);
        let expected = ["unet/1.safetensors", "unet/2.safetensors"];
        assert_eq!(indexed(folder.path(), &files), expected);
        fs::write(unet.join("1.safetensors"), "").unwrap();
        let error = shards(&index).unwrap_err().to_string();
        assert!(error.contains("2.safetensors"), "{error}");
        fs::write(unet.join("2.safetensors"), "").unwrap();
        assert_eq!(shards(&index).unwrap().len(), 2);
        assert!(check_shards(&index, &["a", "b", "c", "d"]).is_ok());
        let error = check_shards(&index, &["a", "c"]).unwrap_err().to_string();
        assert!(error.contains("b: expected in 2.safetensors"), "{error}");
    }

    #[test]
    fn a_folder_without_weights_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = || find(folder.path()).unwrap_err().to_string();
        assert!(error().contains("model.safetensors"), "{}", error());
        fs::write(folder.path().join("pytorch_model.bin"), "x").unwrap();
        let told = format!("deem convert {} OUT", folder.path().display());
        assert!(error().contains(&told), "{}", error());
        // Two of which none has a published name, as taesd's: which one, only the user knows.
        let taesd = tempfile::tempdir().unwrap();
        for name in ["taef2_decoder.pth", "taef2_encoder.pth"] {
            fs::write(taesd.path().join(name), "x").unwrap();
        }
        let error = find(taesd.path()).unwrap_err().to_string();
        let first = taesd.path().join("taef2_decoder.pth");
        let told = format!("deem convert {} OUT", first.display());
        assert!(error.contains(&told), "{error}");
        assert!(error.contains("taef2_encoder.pth"), "{error}");
    }
}
