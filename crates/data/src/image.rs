//! Pictures: safe decoding, region masks, resampling, and the two views a model sees.

mod crop;
mod decode;
mod folder;
mod jpeg;
mod mask;
mod published_view;
mod resample;
mod view;

pub use crop::{Crop, mask_on_square, on_square};
pub(crate) use decode::is_picture;
pub use decode::{ImageLimits, decode_image, decode_mask, read_image, read_mask};
pub use folder::pictures_below;
pub use mask::{decode_region, read_region};
pub use published_view::{interpolated_view, resized_centre_view};
pub use resample::{Filter, resize_gray, resize_rgb, resize_rgba_premultiplied};
pub use view::{ViewConfig, Views, square_view};
