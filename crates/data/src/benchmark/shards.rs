//! Pictures with texts in WebDataset shards, had one by one.

use std::path::Path;
use std::sync::Arc;

use super::files::names;
use crate::DataError;
use crate::source::CaptionedShards;

/// The shards of a folder (`*.tar`, all of them), or nothing if there are none. `caption` says which field of a record is the
/// text, as of the source `webdataset`.
pub(super) fn shards_of(
    folder: &Path,
    caption: Option<&str>,
) -> Result<Option<Arc<CaptionedShards>>, DataError> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let names = names(folder)?
        .into_iter()
        .filter(|name| name.ends_with(".tar"));
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(CaptionedShards::open(
        folder, names, caption,
    )?)))
}
