//! Pictures as people have them: files in, files out.

use std::path::Path;

use deem_data::SampleImage;
use deem_data::image::{ImageLimits, read_image, read_mask};
use image::{GrayImage, RgbImage, imageops};

use crate::Error;

/// Smaller pictures are enlarged when they are written, so that they can be seen.
const SEEN: u32 = 256;

/// A picture to be asked about.
///
/// ```
/// let picture = deem::Picture::new("a", image::RgbImage::new(4, 2));
/// assert_eq!(picture.pixels().dimensions(), (4, 2));
/// ```
#[derive(Clone, Debug)]
pub struct Picture(SampleImage);

impl Picture {
    /// A picture in memory; `name` names it in errors.
    pub fn new(name: impl Into<String>, pixels: RgbImage) -> Self {
        Self(SampleImage {
            id: name.into(),
            image: pixels,
            mask: None,
        })
    }

    /// The same picture, with the region that is asked about: what is not black.
    ///
    /// # Errors
    /// `Option` if the mask has another size than the picture.
    pub fn with_region(mut self, mask: GrayImage) -> Result<Self, Error> {
        if mask.dimensions() != self.0.image.dimensions() {
            return Err(Error::Option {
                option: "mask",
                expected: "the picture's size",
                found: format!("{}x{}", mask.width(), mask.height()),
            });
        }
        self.0.mask = Some(mask);
        Ok(self)
    }

    /// Reads a picture, and the mask that belongs to it, of at most `max_pixels`.
    ///
    /// # Errors
    /// `Data` naming the file.
    pub fn read(path: &Path, mask: Option<&Path>, max_pixels: u64) -> Result<Self, Error> {
        let limit = ImageLimits { max_pixels };
        let image = read_image(path, limit)?;
        let mask = mask
            .map(|mask| read_mask(mask, image.dimensions(), limit))
            .transpose()?;
        Ok(Self(SampleImage {
            id: path.display().to_string(),
            image,
            mask,
        }))
    }

    /// Its pixels.
    pub fn pixels(&self) -> &RgbImage {
        &self.0.image
    }

    pub(crate) fn sample(&self) -> &SampleImage {
        &self.0
    }
}

impl From<SampleImage> for Picture {
    fn from(image: SampleImage) -> Self {
        Self(image)
    }
}

/// Writes a picture, enlarged by whole steps so that small ones can be seen; the ending chooses the format.
///
/// # Errors
/// `File` if it cannot be written.
pub fn write_picture(picture: &RgbImage, path: &Path) -> Result<(), Error> {
    let factor = (SEEN / picture.width().max(1)).max(1);
    let (width, height) = (picture.width() * factor, picture.height() * factor);
    let large = imageops::resize(picture, width, height, imageops::FilterType::CatmullRom);
    let written = large.save(path);
    written.map_err(|error| Error::file(path, format!("cannot write the picture ({error})")))
}
