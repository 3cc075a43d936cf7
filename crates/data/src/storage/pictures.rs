//! A folder of pictures, wherever it lies.

use image::RgbImage;

use super::Location;
use super::remote;
use crate::DataError;
use crate::image::{ImageLimits, decode_image, read_image};

/// Where the pictures lie that records name.
#[derive(Clone, Debug)]
pub struct Pictures {
    folder: Location,
    limits: ImageLimits,
}

impl Pictures {
    /// Pictures below a folder.
    pub fn below(folder: Location, limits: ImageLimits) -> Self {
        Self { folder, limits }
    }

    /// Where they lie.
    pub fn folder(&self) -> &Location {
        &self.folder
    }

    /// Largest pictures that are read.
    pub fn limits(&self) -> ImageLimits {
        self.limits
    }

    /// Reads the picture of a name.
    ///
    /// # Errors
    /// `Io`, `Image` or `ImageTooLarge`, each naming the file.
    pub fn read(&self, name: &str) -> Result<RgbImage, DataError> {
        match self.folder.join(name) {
            Location::Local(path) => read_image(&path, self.limits),
            location @ Location::Remote(_) => {
                let name = location.to_string();
                let admit = |length| self.limits.admit_bytes(&name, length);
                let bytes = remote::whole(&location, admit)?;
                decode_image(&bytes, &name, self.limits)
            }
        }
    }
}
