//! What the fuzz targets share: the readers, and a folder for the files that they read.

#[path = "readers/data.rs"]
pub mod data;
#[cfg(feature = "networks")]
#[path = "readers/engine.rs"]
pub mod engine;
#[cfg(feature = "networks")]
#[path = "readers/model.rs"]
pub mod model;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A folder of this process.
pub fn scratch() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = std::env::temp_dir().join(format!("deem-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        folder
    });
    &FOLDER
}
