//! All benchmarks of a split together, in memory and on disk.

use std::path::Path;

use super::item::{Item, Suite};
use super::{mmvp, pope, region, robustvqa};
use crate::DataError;
use crate::image::ImageLimits;

/// The items of every suite.
#[derive(Clone, Debug, Default)]
pub struct Benchmarks {
    /// All items, suite by suite; pairs of MMVP and RobustVQA are neighbours.
    pub items: Vec<Item>,
}

const POPE: [Suite; 3] = [
    Suite::PopeRandom,
    Suite::PopePopular,
    Suite::PopeAdversarial,
];

impl Benchmarks {
    /// Items of one suite.
    pub fn suite(&self, suite: Suite) -> Vec<&Item> {
        self.items.iter().filter(|i| i.suite == suite).collect()
    }

    /// Writes every suite that has items, in the published layouts: `pope/`, `mmvp/`, `robustvqa/`, `region/`.
    ///
    /// # Errors
    /// `Io`.
    pub fn write(&self, folder: &Path) -> Result<(), DataError> {
        for suite in POPE {
            let items = self.suite(suite);
            if !items.is_empty() {
                let at = folder.join("pope");
                pope::write_pope(&items, &at.join(pope::file_name(suite)), &at.join("images"))?;
            }
        }
        let mmvp = self.suite(Suite::Mmvp);
        if !mmvp.is_empty() {
            mmvp::write_mmvp(&mmvp, &folder.join("mmvp"))?;
        }
        let robust: Vec<&Item> = self
            .items
            .iter()
            .filter(|i| i.suite.family() == "robust_vqa")
            .collect();
        if !robust.is_empty() {
            let at = folder.join("robustvqa");
            robustvqa::write_robustvqa(&robust, &at.join("robustvqa.json"), &at.join("images"))?;
        }
        let regions = self.suite(Suite::Region);
        if !regions.is_empty() {
            let at = folder.join("region");
            region::write_regions(&regions, &at.join("region.json"), &at.join("images"))?;
        }
        Ok(())
    }

    /// Reads what [`Self::write`] wrote; suites whose folder is missing are left out.
    ///
    /// # Errors
    /// Those of the readers; `Empty` if there is no suite at all.
    pub fn read(folder: &Path, limits: ImageLimits) -> Result<Self, DataError> {
        let mut items = Vec::new();
        let at = folder.join("robustvqa");
        if at.exists() {
            items.extend(robustvqa::read_robustvqa(
                &at.join("robustvqa.json"),
                &at.join("images"),
            )?);
        }
        let at = folder.join("pope");
        for suite in POPE {
            let file = at.join(pope::file_name(suite));
            if file.exists() {
                items.extend(pope::read_pope(&file, &at.join("images"), suite)?);
            }
        }
        let at = folder.join("mmvp");
        if at.exists() {
            items.extend(mmvp::read_mmvp(&at)?);
        }
        let at = folder.join("region");
        if at.exists() {
            items.extend(region::read_regions(
                &at.join("region.json"),
                &at.join("images"),
                limits,
            )?);
        }
        if items.is_empty() {
            return Err(DataError::Empty {
                what: format!("benchmark folder {}", folder.display()),
                hint: "it should hold robustvqa/, pope/, mmvp/ or region/".into(),
            });
        }
        Ok(Self { items })
    }
}

/// Writes a file, making its folder.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| DataError::io(folder, e))?;
    }
    std::fs::write(path, bytes).map_err(|e| DataError::io(path, e))
}
