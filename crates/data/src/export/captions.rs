//! JSON Lines of `{image, caption}` beside a folder of pictures.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Writer, captioned, png, put};
use crate::DataError;
use crate::sample::Sample;

const FILE: &str = "captions.jsonl";

pub(super) struct Captions {
    folder: PathBuf,
    lines: BufWriter<File>,
}

impl Captions {
    pub fn new(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join(FILE);
        let file = File::create(&path).map_err(|e| DataError::io(path, e))?;
        Ok(Self {
            folder: folder.to_owned(),
            lines: BufWriter::new(file),
        })
    }
}

impl Writer for Captions {
    fn add(&mut self, number: u64, sample: &Sample) -> Result<(), DataError> {
        let (picture, caption) = captioned(sample)?;
        let name = format!("{number:06}.png");
        put(
            &self.folder,
            &format!("images/{name}"),
            &png(picture, &name)?,
        )?;
        let line = json!({ "image": name, "caption": caption });
        writeln!(self.lines, "{line}").map_err(|e| DataError::io(self.folder.join(FILE), e))
    }

    fn finish(mut self: Box<Self>) -> Result<String, DataError> {
        let flushed = self.lines.flush();
        flushed.map_err(|e| DataError::io(self.folder.join(FILE), e))?;
        Ok(format!(
            r#"kind = "captions", file = "{FILE}", images = "images""#
        ))
    }
}
