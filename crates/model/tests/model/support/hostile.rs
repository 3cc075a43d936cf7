//! A place for one bad file.

use std::path::PathBuf;

pub struct Hostile {
    folder: tempfile::TempDir,
    name: &'static str,
}

impl Hostile {
    pub fn named(name: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, name }
    }

    /// Where the file lies, with this content.
    pub fn write(&self, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(self.name);
        std::fs::write(&path, content).unwrap();
        path
    }
}
