//! Pictures of a benchmark: in memory, in its file, or on disk, wherever below the benchmark's folder they lie.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use sha2::{Digest, Sha256};

use crate::DataError;
use crate::image::{ImageLimits, decode_image};
use crate::source::CaptionedShards;

/// A picture in memory or on disk.
#[derive(Clone, Debug)]
pub enum Picture {
    /// In memory.
    Memory {
        /// Name under which it is written.
        id: String,
        /// Pixels.
        image: Arc<RgbImage>,
    },
    /// The file's bytes, which stood in a benchmark's own file; decoded when needed.
    Encoded {
        /// Name of the picture.
        id: String,
        /// JPEG, PNG, …
        bytes: Arc<[u8]>,
    },
    /// In a shard, read when needed.
    Shard {
        /// The shards.
        shards: Arc<CaptionedShards>,
        /// Number of the sample.
        index: u64,
        /// Name of the sample.
        id: String,
    },
    /// On disk, read when needed.
    File(PathBuf),
}

impl Picture {
    /// Name of the picture.
    pub fn id(&self) -> String {
        match self {
            Self::Memory { id, .. } | Self::Encoded { id, .. } | Self::Shard { id, .. } => {
                id.clone()
            }
            Self::File(path) => path
                .file_name()
                .map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
        }
    }

    /// Its pixels.
    ///
    /// # Errors
    /// As [`crate::image::read_image`].
    pub fn load(&self, limits: ImageLimits) -> Result<Arc<RgbImage>, DataError> {
        self.load_hashed(limits).map(|(image, _)| image)
    }

    /// Its pixels, and the SHA-256 of the file in hexadecimal (of the pixels, if it lies in memory).
    ///
    /// # Errors
    /// As [`crate::image::read_image`].
    pub fn load_hashed(&self, limits: ImageLimits) -> Result<(Arc<RgbImage>, String), DataError> {
        match self {
            Self::Memory { image, .. } => Ok((image.clone(), sha256(image.as_raw()))),
            Self::Encoded { id, bytes } => {
                let image = decode_image(bytes, id, limits)?;
                Ok((Arc::new(image), sha256(bytes)))
            }
            Self::Shard { shards, index, id } => {
                let bytes = shards.picture(*index)?;
                let image = decode_image(&bytes, id, limits)?;
                Ok((Arc::new(image), sha256(&bytes)))
            }
            Self::File(path) => {
                let bytes = std::fs::read(path).map_err(|e| DataError::io(path, e))?;
                let image = decode_image(&bytes, &path.display().to_string(), limits)?;
                Ok((Arc::new(image), sha256(&bytes)))
            }
        }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), DataError> {
        std::fs::create_dir_all(folder).map_err(|e| DataError::io(folder, e))?;
        let path = folder.join(self.id());
        match self {
            Self::Memory { image, .. } => image
                .save(&path)
                .map_err(|e| DataError::io(&path, std::io::Error::other(e))),
            Self::Encoded { bytes, .. } => {
                std::fs::write(&path, bytes).map_err(|e| DataError::io(&path, e))
            }
            Self::Shard { shards, index, .. } => {
                std::fs::write(&path, shards.picture(*index)?).map_err(|e| DataError::io(&path, e))
            }
            Self::File(from) => std::fs::copy(from, &path)
                .map(|_| ())
                .map_err(|e| DataError::io(&path, e)),
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Folders are followed this deep, links included.
const DEPTH: usize = 12;

/// All files below a folder, found by name: people keep `val2014/`, `images/` or class folders as they came.
#[derive(Clone, Debug)]
pub struct PictureFolder {
    root: PathBuf,
    files: HashMap<OsString, Vec<PathBuf>>,
}

impl PictureFolder {
    /// Lists what lies below a folder; linked folders are followed, each once.
    ///
    /// # Errors
    /// `Io` naming a folder that cannot be listed.
    pub fn open(root: &Path) -> Result<Self, DataError> {
        let mut files: HashMap<OsString, Vec<PathBuf>> = HashMap::new();
        let mut seen = HashSet::new();
        let mut open = vec![(root.to_owned(), 0)];
        while let Some((folder, depth)) = open.pop() {
            let real = folder
                .canonicalize()
                .map_err(|e| DataError::io(&folder, e))?;
            if depth > DEPTH || !seen.insert(real) {
                continue;
            }
            let entries = std::fs::read_dir(&folder).map_err(|e| DataError::io(&folder, e))?;
            for entry in entries {
                let entry = entry.map_err(|e| DataError::io(&folder, e))?;
                let kind = entry.file_type().map_err(|e| DataError::io(&folder, e))?;
                let path = entry.path();
                if kind.is_dir() || (kind.is_symlink() && path.is_dir()) {
                    open.push((path, depth + 1));
                } else {
                    files.entry(entry.file_name()).or_default().push(path);
                }
            }
        }
        Ok(Self {
            root: root.to_owned(),
            files,
        })
    }

    /// The picture that a file names, as `n01/1.jpg` or `1.jpg`: the file whose path ends so, else the only one of that
    /// name. A picture that is not there is one that cannot be read, and says so when it is needed.
    ///
    /// # Errors
    /// The paths of two files that could be meant.
    pub fn find(&self, name: &str) -> Result<Picture, [PathBuf; 2]> {
        // No name leads out of the folder, whatever it says.
        let plain: PathBuf = Path::new(name)
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .collect();
        let known = plain.file_name().and_then(|name| self.files.get(name));
        let known = known.map_or(&[][..], Vec::as_slice);
        let ending: Vec<&PathBuf> = known.iter().filter(|path| path.ends_with(&plain)).collect();
        let exact = self.root.join(&plain);
        let deep = plain.components().count() > 1;
        let candidates = match ending.len() {
            0 => known.iter().collect(),
            // A path from the folder on says which one is meant, a bare name does not.
            _ if deep && ending.contains(&&exact) => vec![&exact],
            _ => ending,
        };
        match candidates.as_slice() {
            [] => Ok(Picture::File(exact)),
            [one] => Ok(Picture::File((*one).clone())),
            [first, second, ..] => {
                let mut both = [(*first).clone(), (*second).clone()];
                both.sort();
                Err(both)
            }
        }
    }

    /// Whether a file of this name lies anywhere below.
    pub(super) fn has(&self, name: &str) -> bool {
        self.files.contains_key(std::ffi::OsStr::new(name))
    }

    /// As [`Self::find`], for a record of a file.
    ///
    /// # Errors
    /// `Malformed` naming file, record, and two pictures that could be meant.
    pub(super) fn of_record(
        &self,
        name: &str,
        file: &str,
        place: &str,
    ) -> Result<Picture, DataError> {
        self.find(name).map_err(|[first, second]| {
            DataError::malformed(
                file,
                place,
                format!("one picture {name:?} below {}", self.root.display()),
                format!("{} and {}", first.display(), second.display()),
            )
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A folder of files that hold something.
    pub(in crate::benchmark) fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        folder
    }

    fn found(folder: &tempfile::TempDir, name: &str) -> Result<PathBuf, String> {
        let pictures = PictureFolder::open(folder.path()).unwrap();
        let relative = |path: PathBuf| path.strip_prefix(folder.path()).unwrap().to_owned();
        match pictures.find(name) {
            Ok(Picture::File(path)) => Ok(relative(path)),
            Ok(_) => unreachable!("made of files"),
            Err([a, b]) => Err(format!(
                "{} {}",
                relative(a).display(),
                relative(b).display()
            )),
        }
    }

    #[test]
    fn pictures_are_found_wherever_they_lie() {
        let folder = folder(&["a.jpg", "val2014/b.jpg", "r/n01/1.jpg", "r/n02/1.jpg"]);
        let at = |path: &str| Ok(PathBuf::from(path));
        assert_eq!(found(&folder, "a.jpg"), at("a.jpg"));
        assert_eq!(found(&folder, "b.jpg"), at("val2014/b.jpg"));
        assert_eq!(found(&folder, "images/b.jpg"), at("val2014/b.jpg"));
        assert_eq!(found(&folder, "n02/1.jpg"), at("r/n02/1.jpg"));
        assert_eq!(found(&folder, "missing.jpg"), at("missing.jpg"));
        assert_eq!(found(&folder, "../../etc/passwd"), at("etc/passwd"));
        let both = found(&folder, "1.jpg").unwrap_err();
        assert_eq!(both, "r/n01/1.jpg r/n02/1.jpg");
        assert!(found(&folder, "n03/1.jpg").is_err());
    }

    #[test]
    fn a_path_from_the_folder_on_is_not_ambiguous() {
        let folder = folder(&["n01/1.jpg", "copy/n01/1.jpg", "b.jpg", "images/b.jpg"]);
        assert_eq!(found(&folder, "n01/1.jpg"), Ok("n01/1.jpg".into()));
        assert!(found(&folder, "b.jpg").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn linked_folders_are_followed_once() {
        let folder = folder(&["real/a.jpg"]);
        std::os::unix::fs::symlink(folder.path(), folder.path().join("real/loop")).unwrap();
        assert_eq!(found(&folder, "a.jpg"), Ok("real/a.jpg".into()));
    }
}
