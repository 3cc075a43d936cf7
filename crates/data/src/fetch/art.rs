//! Where each package keeps the drawing of a code point, and how it becomes 64x64 pixels.

use std::collections::HashMap;
use std::path::Path;

use image::RgbaImage;
use resvg::{tiny_skia, usvg};
use serde::Deserialize;
use serde_json::Value;

use super::npm;
use crate::DataError;
use crate::image::resize_rgba_premultiplied;
use crate::world::corpus::Style;

const SIZE: u32 = 64;

/// Package and licence of a style's art.
pub(super) fn package(style: Style) -> (&'static str, &'static str) {
    match style {
        Style::Noto => ("emoji-datasource-google@16.0.0", "Apache-2.0"),
        Style::Twemoji => ("emoji-datasource-twitter@16.0.0", "CC-BY-4.0"),
        Style::Fluent3d => ("@lobehub/fluent-emoji-3d@1.1.0", "MIT"),
        Style::FluentFlat => ("@iconify-json/fluent-emoji-flat@1.2.6", "MIT"),
        Style::FluentHighContrast => ("@iconify-json/fluent-emoji-high-contrast@1.2.6", "MIT"),
        Style::NotoBlob => ("@iconify-json/noto-v1@1.2.5", "Apache-2.0"),
        Style::Emojione => ("@iconify-json/emojione@1.2.3", "CC-BY-4.0"),
        Style::Fxemoji => ("@iconify-json/fxemoji@1.2.2", "CC-BY-4.0"),
        Style::OpenmojiColor | Style::OpenmojiBlack => ("openmoji@17.0.0", "CC-BY-SA-4.0"),
    }
}

/// The drawings of one style.
pub(super) struct Art {
    files: HashMap<String, Vec<u8>>,
    /// File of each code point, lower-case, without variation selectors.
    names: HashMap<String, String>,
    tarball: String,
}

#[derive(Deserialize)]
struct Entry {
    unified: String,
    image: String,
}

impl Art {
    /// Reads a package.
    pub fn open(style: Style, tarball: &Path) -> Result<Self, DataError> {
        let name = tarball.display().to_string();
        let mut art = Self {
            files: HashMap::new(),
            names: HashMap::new(),
            tarball: name,
        };
        match style {
            Style::Noto | Style::Twemoji => {
                art.files = npm::files(tarball, |n| n == "emoji.json" || n.contains("/64/"))?;
                let folder = if style == Style::Noto {
                    "google"
                } else {
                    "twitter"
                };
                let index: Vec<Entry> = art.json("emoji.json")?;
                for entry in index {
                    art.names.insert(
                        key(&entry.unified),
                        format!("img/{folder}/64/{}", entry.image),
                    );
                }
            }
            Style::Fluent3d => {
                art.files = npm::files(tarball, |n| {
                    n.starts_with("assets/") && n.ends_with(".webp")
                })?;
                art.names = by_file_name(&art.files);
            }
            Style::OpenmojiColor | Style::OpenmojiBlack => {
                let folder = if style == Style::OpenmojiColor {
                    "color/svg/"
                } else {
                    "black/svg/"
                };
                art.files = npm::files(tarball, |n| n.starts_with(folder) && n.ends_with(".svg"))?;
                art.names = by_file_name(&art.files);
            }
            Style::FluentFlat
            | Style::FluentHighContrast
            | Style::NotoBlob
            | Style::Emojione
            | Style::Fxemoji => {
                art.files = npm::files(tarball, |n| n == "chars.json" || n == "icons.json")?;
                art.unpack_icons()?;
            }
        }
        Ok(art)
    }

    /// Drawing of a code point, if the style has it.
    pub fn drawing(&self, codepoint: &str) -> Option<Result<RgbaImage, DataError>> {
        let name = self.names.get(codepoint)?;
        let bytes = self.files.get(name)?;
        let failed = |reason: String| DataError::Image {
            name: format!("{}:{name}", self.tarball),
            reason,
        };
        Some(if name.ends_with(".svg") {
            rasterise(bytes).map_err(failed)
        } else {
            image::load_from_memory(bytes)
                .map(|i| resize_rgba_premultiplied(&i.to_rgba8(), SIZE, SIZE))
                .map_err(|e| failed(e.to_string()))
        })
    }

    fn json<T: for<'a> Deserialize<'a>>(&self, file: &str) -> Result<T, DataError> {
        let bytes = self.files.get(file).map(Vec::as_slice).unwrap_or_default();
        serde_json::from_slice(bytes).map_err(|e| {
            DataError::malformed(&self.tarball, file, "the package's index", e.to_string())
        })
    }

    /// Turns Iconify's icon bodies into SVG files.
    fn unpack_icons(&mut self) -> Result<(), DataError> {
        let chars: HashMap<String, String> = self.json("chars.json")?;
        let icons: Value = self.json("icons.json")?;
        for (codepoint, name) in chars {
            let Some(body) = icons["icons"][&name]["body"].as_str() else {
                continue;
            };
            let side = |field: &str| {
                icons["icons"][&name][field]
                    .as_f64()
                    .or(icons[field].as_f64())
                    .unwrap_or(32.0)
            };
            let svg = format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\">{}</svg>",
                side("width"),
                side("height"),
                body.replace("currentColor", "#212121")
            );
            let file = format!("{name}.svg");
            self.names.insert(key(&codepoint), file.clone());
            self.files.insert(file, svg.into_bytes());
        }
        Ok(())
    }
}

/// Lower-case code points without variation selectors: `26F5-FE0F` to `26f5`.
pub(super) fn key(codepoints: &str) -> String {
    let lower = codepoints.to_lowercase();
    lower
        .split('-')
        .filter(|c| *c != "fe0f")
        .collect::<Vec<_>>()
        .join("-")
}

fn by_file_name(files: &HashMap<String, Vec<u8>>) -> HashMap<String, String> {
    files
        .keys()
        .filter_map(|path| {
            let stem = Path::new(path).file_stem()?.to_str()?;
            Some((key(stem), path.clone()))
        })
        .collect()
}

fn rasterise(svg: &[u8]) -> Result<RgbaImage, String> {
    let tree = usvg::Tree::from_data(svg, &usvg::Options::default()).map_err(|e| e.to_string())?;
    let mut pixmap = tiny_skia::Pixmap::new(SIZE, SIZE).ok_or("no memory for 64x64 pixels")?;
    let scale = SIZE as f32 / tree.size().width().max(tree.size().height());
    resvg::render(
        &tree,
        tiny_skia::Transform::from_scale(scale, scale),
        &mut pixmap.as_mut(),
    );
    let pixels = pixmap.pixels().iter().flat_map(|p| {
        let p = p.demultiply();
        [p.red(), p.green(), p.blue(), p.alpha()]
    });
    RgbaImage::from_raw(SIZE, SIZE, pixels.collect()).ok_or_else(|| "wrong size".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_are_normalised() {
        assert_eq!(key("26F5-FE0F"), "26f5");
        assert_eq!(key("1F3F3-FE0F-200D-1F308"), "1f3f3-200d-1f308");
    }

    #[test]
    fn svg_is_scaled_to_64_pixels() {
        let svg = br##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="4" height="8" fill="#ff0000"/></svg>"##;
        let image = rasterise(svg).unwrap();
        assert_eq!(image.get_pixel(31, 63).0, [255, 0, 0, 255]);
        assert_eq!(image.get_pixel(32, 0).0, [0, 0, 0, 0]);
        assert!(rasterise(b"<svg").is_err());
    }
}
