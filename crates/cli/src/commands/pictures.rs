//! Pictures in and out, and what is said about them.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use deem::Picture;
use image::ImageFormat;

use crate::args::{Fit, ModelChoice, Reading};

/// Reads a picture (`-` is standard input), and the region of it that a mask shows.
pub fn read_picture(
    path: &Path,
    mask: Option<(&Path, Option<u32>)>,
    reading: &Reading,
    choice: &ModelChoice,
) -> Result<Picture> {
    let most = choice.max_megapixels * 1_000_000;
    let cut_off = reading.allow_truncated;
    let mut picture = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .context("standard input")?;
        Picture::decode("standard input", bytes, most, cut_off)?
    } else if cut_off {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        Picture::decode(&path.display().to_string(), bytes, most, true)?
    } else {
        Picture::read(path, most)?
    };
    if let Some((mask, region)) = mask {
        picture = picture.with_mask(mask, region)?;
    }
    let (width, height) = picture.pixels().dimensions();
    if width == height {
        return Ok(picture);
    }
    let (name, short) = (path.display(), width.min(height));
    Ok(match reading.fit {
        Fit::Pad => {
            eprintln!(
                "note: {name}: {width}x{height}, seen whole on a square (--fit crop: its centre only)"
            );
            picture.padded()
        }
        Fit::Crop => {
            eprintln!(
                "note: {name}: of {width}x{height} only the centre {short}x{short} is seen (--fit pad: all of it)"
            );
            picture
        }
    })
}

/// Checks, before anything is computed, that a picture can be written.
pub fn check_output(path: &Path) -> Result<()> {
    let name = path.display();
    let Ok(format) = ImageFormat::from_path(path) else {
        bail!("{name}: expected a name that ends in .png, .jpg, .webp, .gif or .bmp");
    };
    if !format.can_write() || !format.writing_enabled() {
        bail!("{name}: this kind of picture cannot be written; use .png");
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        bail!("{}: not a folder; create it first", folder.display());
    }
    if path.is_dir() {
        bail!("{name}: a folder; name a file");
    }
    Ok(())
}
