//! Tells the program which commit it is built from, as `DEEM_COMMIT`.
//!
//! The variable of that name decides where it is set (for builds from an archive); otherwise git is asked, and where
//! there is no repository of this project the commit is `unknown`. A `+` says that what is compiled was changed after
//! the commit.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What is compiled, below the root of the repository.
const SOURCES: [&str; 4] = ["crates", "vendor", "Cargo.toml", "Cargo.lock"];
/// What git changes when another commit is checked out or made.
const STATE: [&str; 4] = ["HEAD", "logs/HEAD", "refs/heads", "packed-refs"];

fn main() {
    println!("cargo:rerun-if-env-changed=DEEM_COMMIT");
    println!("cargo:rerun-if-changed=build.rs");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let given = std::env::var("DEEM_COMMIT").ok();
    let commit = given
        .filter(|given| !given.trim().is_empty())
        .or_else(|| commit(&root))
        .unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=DEEM_COMMIT={}", commit.trim());
}

/// Commit of this project's repository, if the sources lie in it.
fn commit(root: &Path) -> Option<String> {
    let top = PathBuf::from(git(root, &["rev-parse", "--show-toplevel"])?);
    // An archive that was unpacked within another repository has no commit of its own.
    if top.canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    for name in STATE {
        let path = root.join(git(root, &["rev-parse", "--git-path", name])?);
        watch(&path);
    }
    for name in SOURCES {
        watch(&root.join(name));
    }
    let head = git(root, &["rev-parse", "--short=12", "HEAD"])?;
    let status = ["status", "--porcelain", "--untracked-files=no", "--"];
    let changed = git(root, &[&status[..], &SOURCES].concat())?;
    let mark = if changed.is_empty() { "" } else { "+" };
    Some(format!("{head}{mark}"))
}

/// Runs this again when a file or folder changes; a path that does not exist would run it each time.
fn watch(path: &Path) {
    if path.exists() {
        println!("cargo:rerun-if-changed={}", path.display());
    }
}

/// What git prints, if it succeeds. It must not write: a refreshed index would count as a change.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("--no-optional-locks")
        .args(arguments)
        .current_dir(root)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
