//! Tar shards of pictures beside their captions.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use tar::{Builder, Header};

use super::{Writer, captioned, png};
use crate::DataError;
use crate::sample::Sample;

/// Samples of a shard.
const SHARD: u64 = 1000;

pub(super) struct Shards {
    folder: PathBuf,
    shard: Option<Builder<BufWriter<File>>>,
    count: u64,
}

impl Shards {
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            shard: None,
            count: 0,
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:06}.tar"))
    }

    fn end(&mut self) -> Result<(), DataError> {
        let Some(shard) = self.shard.take() else {
            return Ok(());
        };
        let path = self.path(self.count - 1);
        let file = shard.into_inner().and_then(|file| {
            let file = file.into_inner().map_err(|error| error.into_error())?;
            file.sync_all()
        });
        file.map_err(|e| DataError::io(path, e))
    }
}

impl Writer for Shards {
    fn add(&mut self, number: u64, sample: &Sample) -> Result<(), DataError> {
        let (picture, caption) = captioned(sample)?;
        if number.is_multiple_of(SHARD) {
            self.end()?;
            let path = self.path(self.count);
            let file = File::create(&path).map_err(|e| DataError::io(path, e))?;
            self.shard = Some(Builder::new(BufWriter::new(file)));
            self.count += 1;
        }
        let key = format!("{number:09}");
        let path = self.path(self.count - 1);
        let picture = png(picture, &key)?;
        for (ending, bytes) in [("png", picture.as_slice()), ("txt", caption.as_bytes())] {
            let mut header = Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            if let Some(shard) = &mut self.shard {
                shard
                    .append_data(&mut header, format!("{key}.{ending}"), bytes)
                    .map_err(|e| DataError::io(&path, e))?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<String, DataError> {
        self.end()?;
        let last = self.count.saturating_sub(1);
        Ok(format!(
            r#"kind = "webdataset", shards = "{{000000..{last:06}}}.tar""#
        ))
    }
}
