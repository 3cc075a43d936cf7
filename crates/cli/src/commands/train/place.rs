//! Where a run goes: a folder, or an object store and a folder on this machine.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use deem_collective::Collective;
use deem_data::storage::Location;
use deem_engine::train::RunStore;

use crate::args::Train;

/// Where a run goes.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder on this machine.
    pub folder: PathBuf,
    /// The address of the run in an object store.
    address: Option<Location>,
}

impl Place {
    /// What the command line says. Of several processes each has a folder of its own if the run is in an object store.
    pub fn of(args: &Train, processes: &dyn Collective) -> Result<Self> {
        let text = args.output.to_string_lossy();
        let location = Location::parse(&text, Path::new(""));
        let location = location.map_err(|problem| anyhow::anyhow!("--output {problem}"))?;
        if matches!(location, Location::Local(_)) {
            if let Some(scratch) = &args.scratch {
                bail!(
                    "--scratch {}: only a run in an object store works in another folder than --output",
                    scratch.display()
                );
            }
            return Ok(Self {
                folder: args.output.clone(),
                address: None,
            });
        }
        let named = || Path::new("runs").join(slug(&text));
        let mut folder = args.scratch.clone().unwrap_or_else(named);
        if processes.size() > 1 {
            folder.push(format!("rank-{}", processes.rank()));
        }
        Ok(Self {
            folder,
            address: Some(location),
        })
    }

    /// That of a stage, if the run is in an object store.
    pub fn store(&self, stage: Option<&str>) -> Result<Option<RunStore>> {
        let below = |address: &Location| match stage {
            Some(stage) => address.join(stage),
            None => address.clone(),
        };
        let address = self.address.as_ref().map(below);
        Ok(address.as_ref().map(RunStore::at).transpose()?)
    }
}

/// An address as the name of a folder.
fn slug(address: &str) -> String {
    let kept = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    let slug: String = address.chars().map(kept).collect();
    let parts = slug.split('-').filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_names_of_folders() {
        assert_eq!(slug("s3://my bucket/runs/7b/"), "s3-my-bucket-runs-7b");
    }
}
