//! What shells and `man` know of the program.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Args;
use crate::output;

/// Prints completions.
pub fn completions(shell: Shell) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "deem", &mut text);
    output::piece(&String::from_utf8(text)?);
    Ok(())
}

/// Writes manual pages of the program and of each command.
pub fn pages(folder: &Path) -> Result<()> {
    if !folder.is_dir() {
        bail!("{}: not a folder; create it first", folder.display());
    }
    clap_mangen::generate_to(Args::command(), folder)
        .with_context(|| folder.display().to_string())?;
    println!("{}", folder.display());
    Ok(())
}
