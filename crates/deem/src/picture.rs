//! Pictures as people have them: files in, files out.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use deem_data::SampleImage;
use deem_data::image::{
    ImageLimits, decode_image, mask_on_square, on_square, read_image, read_region,
};
use deem_model::published::{LFS_REMEDY, is_lfs_pointer};
use image::{GrayImage, ImageError, ImageFormat, RgbImage, imageops};

use crate::Error;

/// Smaller pictures are enlarged when they are written, so that they can be seen.
const SEEN: u32 = 256;

/// How a JPEG begins, and how it ends.
const JPEG: &[u8] = &[0xff, 0xd8, 0xff];
const JPEG_END: [u8; 2] = [0xff, 0xd9];

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

    /// Reads a picture of at most `max_pixels`.
    ///
    /// # Errors
    /// `Data` naming the file.
    pub fn read(path: &Path, max_pixels: u64) -> Result<Self, Error> {
        let image = read_image(path, ImageLimits { max_pixels })?;
        Ok(Self::new(path.display().to_string(), image))
    }

    /// Reads a picture from memory; `name` names it in errors. With `cut_off`, a JPEG may end early: what is missing
    /// is grey.
    ///
    /// # Errors
    /// `Data` naming it.
    pub fn decode(
        name: &str,
        mut bytes: Vec<u8>,
        max_pixels: u64,
        cut_off: bool,
    ) -> Result<Self, Error> {
        if is_lfs_pointer(&bytes) {
            return Err(Error::file(Path::new(name), LFS_REMEDY));
        }
        if cut_off && bytes.starts_with(JPEG) {
            bytes.extend(JPEG_END);
        }
        let image = decode_image(&bytes, name, ImageLimits { max_pixels })?;
        Ok(Self::new(name, image))
    }

    /// The same picture, with the region that a mask of its size shows: that with a number, or everything that is
    /// not 0.
    ///
    /// # Errors
    /// `Data` naming the mask if it has another size, or nothing belongs to the region.
    pub fn with_mask(mut self, mask: &Path, region: Option<u32>) -> Result<Self, Error> {
        let size = self.0.image.dimensions();
        let max_pixels = u64::from(size.0) * u64::from(size.1);
        // A mask of another size is to be named as such, not as too large.
        let limits = ImageLimits {
            max_pixels: max_pixels.max(ImageLimits::default().max_pixels),
        };
        self.0.mask = Some(read_region(mask, region, size, limits)?);
        Ok(self)
    }

    /// The picture whole, centred on a square of a plain colour; else a model sees the centre square only.
    #[must_use]
    pub fn padded(mut self) -> Self {
        if self.0.image.width() != self.0.image.height() {
            self.0.mask = self.0.mask.as_ref().map(mask_on_square);
            self.0.image = on_square(&self.0.image);
        }
        self
    }

    /// Its pixels.
    pub fn pixels(&self) -> &RgbImage {
        &self.0.image
    }

    /// Whether a region of it is asked about.
    pub fn has_region(&self) -> bool {
        self.0.mask.is_some()
    }

    /// The region that is asked about, if any: what is not black.
    pub fn region(&self) -> Option<&GrayImage> {
        self.0.mask.as_ref()
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
/// `File` if it cannot be written; what was there before then stays.
pub fn write_picture(picture: &RgbImage, path: &Path) -> Result<(), Error> {
    let factor = (SEEN / picture.width().max(1)).max(1);
    let (width, height) = (picture.width() * factor, picture.height() * factor);
    let large = imageops::resize(picture, width, height, imageops::FilterType::CatmullRom);
    let wrong =
        |error: ImageError| Error::file(path, format!("cannot write the picture ({error})"));
    let format = ImageFormat::from_path(path).map_err(wrong)?;
    let mut bytes = Cursor::new(Vec::new());
    large.write_to(&mut bytes, format).map_err(wrong)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = path.with_file_name(format!("{name}.part"));
    let written = fs::write(&part, bytes.into_inner()).and_then(|()| fs::rename(&part, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&part);
        wrong(error.into())
    })
}
