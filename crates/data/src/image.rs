//! Pictures: safe decoding, region masks, resampling, and the two views a model sees.

mod decode;
mod jpeg;
mod resample;
mod view;

pub use decode::{ImageLimits, decode_image, decode_mask, read_image, read_mask};
pub use resample::{resize_gray, resize_rgb, resize_rgba_premultiplied};
pub use view::{Crop, ViewConfig, Views};
