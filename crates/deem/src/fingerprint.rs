//! What makes sure that a part is the same part: SHA-256 of each of its files.

use std::collections::BTreeMap;
use std::path::Path;

use deem_engine::foundation::Needs;
use deem_model::weights::indexed;

use crate::Error;
use crate::locate::file_names;

/// Checksums of the files that are read of a part, by name within its folder.
///
/// # Errors
/// `Io` naming a file.
pub(crate) fn fingerprint(path: &Path, needs: &Needs) -> Result<BTreeMap<String, String>, Error> {
    if path.is_file() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return Ok(BTreeMap::from([(name.into_owned(), sha256(path)?)]));
    }
    let chosen = (needs.choose)(&file_names(path, ""));
    let shards = indexed(path, &chosen);
    let sums = chosen.into_iter().chain(shards).map(|name| {
        let sum = sha256(&path.join(&name))?;
        Ok((name, sum))
    });
    sums.collect()
}

/// [`deem_hub::sha256`], naming the file that cannot be read.
///
/// # Errors
/// `Io`.
pub(crate) fn sha256(path: &Path) -> Result<String, Error> {
    deem_hub::sha256(path).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_test_vector() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&path).unwrap(), expected);
    }
}
