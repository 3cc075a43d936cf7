//! Pictures within the page.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, RgbImage};
use minijinja::Value;
use serde::Serialize;

/// A picture as its element needs it.
#[derive(Debug, Serialize)]
pub(crate) struct Picture {
    /// The picture as a URL that holds it; nothing if it has no pixels.
    src: Option<Value>,
    width: u32,
    height: u32,
    /// What screen readers say.
    alt: String,
}

impl Picture {
    pub(crate) fn new(image: &RgbImage, alt: impl Into<String>) -> Self {
        let (width, height) = image.dimensions();
        let mut png = Cursor::new(Vec::new());
        let written = image.write_to(&mut png, ImageFormat::Png).is_ok();
        Self {
            // Base64 has no character that means anything to HTML; escaping its slashes would only lengthen the page.
            src: written.then(|| {
                let data = STANDARD.encode(png.into_inner());
                Value::from_safe_string(format!("data:image/png;base64,{data}"))
            }),
            width,
            height,
            alt: alt.into(),
        }
    }
}
