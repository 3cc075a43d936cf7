use std::fs::File;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;

use super::error::WeightsError;

/// Maps a file of at least `least` bytes, which is not 0; nothing if it is shorter.
pub(super) fn mapped(path: &Path, least: u64) -> Result<Option<Mmap>, WeightsError> {
    let io = |cause| WeightsError::Io {
        path: path.into(),
        cause,
    };
    let file = File::open(path).map_err(io)?;
    if file.metadata().map_err(io)?.len() < least {
        return Ok(None);
    }
    // Safety: weights are read-only while in use; checkpoints are replaced by rename, which
    // leaves an existing mapping on the old file.
    Ok(Some(unsafe { Mmap::map(&file) }.map_err(io)?))
}

/// Lets the system take back the memory of a part of a file that will not soon be read again.
pub(super) fn release(map: &Mmap, part: Range<usize>) {
    // Safety: the mapping is shared and read-only, so pages come back from the file with the same
    // content. What the system says is of no consequence: memory is freed a little later then.
    #[cfg(unix)]
    let _ = unsafe {
        map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, part.start, part.len())
    };
    #[cfg(not(unix))]
    let _ = (map, part);
}
