//! Small changes of training pictures that leave true what captions say of them: a turn, a scale and a cut, a hue, a
//! brightness, a blur, the traces of JPEG.
//!
//! Plain `f32` arithmetic and an integer codec, so that a picture has the same bits everywhere. Angles are given as
//! the tangent of their half, `t`: `cos = (1 − t²) / (1 + t²)` and `sin = 2t / (1 + t²)` need no system's mathematics.

use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::dice::Dice;
use crate::image::{ImageLimits, decode_image};

/// How far training pictures vary; 0 everywhere leaves them as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Largest turn either way: tangent of half the angle, `[0, 0.5]`; 0.04 is about 4.6 degrees.
    pub turn: f32,
    /// Largest change of size, as a share, `[0, 0.5]`.
    pub scale: f32,
    /// Largest shift along each axis, as a share of the side, `[0, 0.5]`; what leaves the picture is cut off, and the
    /// edge goes on where nothing was drawn.
    pub shift: f32,
    /// Largest turn of the hue either way: tangent of half the angle, `[0, 0.5]`.
    pub hue: f32,
    /// Largest change of brightness, as a share, `[0, 0.5]`.
    pub light: f32,
    /// Share of pictures that are blurred, `[0, 1]`.
    pub blur: f32,
    /// Share of pictures that go through JPEG at a quality of 40 to 90, `[0, 1]`.
    pub jpeg: f32,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            turn: 0.04,
            scale: 0.08,
            shift: 0.03,
            hue: 0.05,
            light: 0.1,
            blur: 0.25,
            jpeg: 0.25,
        }
    }
}

/// Where a pixel of the new picture comes from: `from = matrix · (to − centre) + centre + shift`.
struct Placement {
    matrix: [[f32; 2]; 2],
    shift: [f32; 2],
}

impl Augmentation {
    /// Checks the ranges.
    ///
    /// # Errors
    /// `Config` naming the field.
    pub fn validate(&self) -> Result<(), DataError> {
        for (field, value, most) in [
            ("turn", self.turn, 0.5),
            ("scale", self.scale, 0.5),
            ("shift", self.shift, 0.5),
            ("hue", self.hue, 0.5),
            ("light", self.light, 0.5),
            ("blur", self.blur, 1.0),
            ("jpeg", self.jpeg, 1.0),
        ] {
            if !(0.0..=most).contains(&value) {
                let reason = format!("{value} is not in [0, {most}]");
                return Err(DataError::config(format!("augmentation.{field}"), reason));
            }
        }
        Ok(())
    }

    /// A picture as training sees it; the same dice make the same picture.
    ///
    /// # Errors
    /// `Image` if JPEG cannot hold it, which no picture of 1 to 65,535 pixels a side is.
    pub fn apply(&self, picture: &RgbImage, dice: &mut Dice) -> Result<RgbImage, DataError> {
        let both_ways = |dice: &mut Dice, most: f32| dice.between(-most, most);
        // Every draw before any use: a field that is 0 changes no other draw.
        let turn = both_ways(dice, self.turn);
        let scale = 1.0 + both_ways(dice, self.scale);
        let shift = [both_ways(dice, self.shift), both_ways(dice, self.shift)];
        let hue = both_ways(dice, self.hue);
        let light = 1.0 + both_ways(dice, self.light);
        let blur = dice.chance(self.blur);
        let jpeg = dice.chance(self.jpeg);
        let quality = 40 + dice.below(51) as u8;

        let [cos, sin] = rotation(turn);
        let placement = Placement {
            matrix: [[cos / scale, sin / scale], [-sin / scale, cos / scale]],
            shift: [
                -shift[0] * picture.width() as f32,
                -shift[1] * picture.height() as f32,
            ],
        };
        let mut picture = placed(picture, &placement);
        recolour(&mut picture, hue, light);
        if blur {
            picture = blurred(&picture);
        }
        if jpeg {
            picture = through_jpeg(&picture, quality)?;
        }
        Ok(picture)
    }
}

/// Cosine and sine of the angle whose half has this tangent.
fn rotation(half: f32) -> [f32; 2] {
    let square = half * half;
    [(1.0 - square) / (1.0 + square), 2.0 * half / (1.0 + square)]
}

/// Bilinear samples; beyond the edge the edge goes on.
fn placed(picture: &RgbImage, placement: &Placement) -> RgbImage {
    let (width, height) = picture.dimensions();
    let centre = [(width as f32 - 1.0) / 2.0, (height as f32 - 1.0) / 2.0];
    let last = [width as i32 - 1, height as i32 - 1];
    let (bytes, line) = (picture.as_raw(), 3 * width as usize);
    // `f32::floor` is a call on processors of the oldest kind, for which programs are compiled.
    let floor = |value: f32| {
        let whole = value as i32;
        whole - i32::from(whole as f32 > value)
    };
    RgbImage::from_fn(width, height, |x, y| {
        let [dx, dy] = [x as f32 - centre[0], y as f32 - centre[1]];
        let from = |row: [f32; 2], axis: usize| {
            row[0] * dx + row[1] * dy + centre[axis] + placement.shift[axis]
        };
        let (u, v) = (from(placement.matrix[0], 0), from(placement.matrix[1], 1));
        let (left, top) = (floor(u), floor(v));
        let (right_share, low_share) = (u - left as f32, v - top as f32);
        let both = |first: i32, last: i32| [first, first + 1].map(|at| at.clamp(0, last) as usize);
        let [left, right] = both(left, last[0]).map(|column| 3 * column);
        let [top, low] = both(top, last[1]).map(|row| line * row);
        let corners = [
            (top + left, (1.0 - right_share) * (1.0 - low_share)),
            (top + right, right_share * (1.0 - low_share)),
            (low + left, (1.0 - right_share) * low_share),
            (low + right, right_share * low_share),
        ];
        let mut sum = [0.0f32; 3];
        for (at, share) in corners {
            for (to, from) in sum.iter_mut().zip(&bytes[at..at + 3]) {
                *to += share * f32::from(*from);
            }
        }
        Rgb(sum.map(byte))
    })
}

/// Turns the hue in the plane of equal luminance (YIQ) and scales the brightness.
fn recolour(picture: &mut RgbImage, hue: f32, light: f32) {
    let [cos, sin] = rotation(hue);
    for pixel in picture.pixels_mut() {
        let [r, g, b] = pixel.0.map(f32::from);
        let y = 0.299 * r + 0.587 * g + 0.114 * b;
        let i = 0.596 * r - 0.274 * g - 0.322 * b;
        let q = 0.211 * r - 0.523 * g + 0.312 * b;
        let (i, q) = (cos * i - sin * q, sin * i + cos * q);
        let rgb = [
            y + 0.956 * i + 0.621 * q,
            y - 0.272 * i - 0.647 * q,
            y - 1.106 * i + 1.703 * q,
        ];
        pixel.0 = rgb.map(|v| byte(light * v));
    }
}

/// The binomial kernel 1 2 1 along both axes; beyond the edge the edge goes on.
fn blurred(picture: &RgbImage) -> RgbImage {
    let (line, lines) = (3 * picture.width() as usize, picture.height() as usize);
    let mut across = Vec::with_capacity(line * lines);
    for row in picture.as_raw().chunks_exact(line) {
        across.extend((0..line).map(|i| {
            let before = row[if i < 3 { i } else { i - 3 }];
            let behind = row[if i + 3 < line { i + 3 } else { i }];
            u16::from(before) + 2 * u16::from(row[i]) + u16::from(behind)
        }));
    }
    let mut picture = picture.clone();
    for (y, row) in picture.chunks_exact_mut(line).enumerate() {
        let [above, here, below] = [y.saturating_sub(1), y, (y + 1).min(lines - 1)]
            .map(|y| &across[y * line..(y + 1) * line]);
        for (i, to) in row.iter_mut().enumerate() {
            *to = ((above[i] + 2 * here[i] + below[i] + 8) / 16) as u8;
        }
    }
    picture
}

fn through_jpeg(picture: &RgbImage, quality: u8) -> Result<RgbImage, DataError> {
    const NAME: &str = "augmented picture";
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode_image(picture)
        .map_err(|error| DataError::Image {
            name: NAME.into(),
            reason: error.to_string(),
        })?;
    decode_image(&bytes, NAME, ImageLimits::default())
}

fn byte(value: f32) -> u8 {
    (value + 0.5).clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    const NOTHING: Augmentation = Augmentation {
        turn: 0.0,
        scale: 0.0,
        shift: 0.0,
        hue: 0.0,
        light: 0.0,
        blur: 0.0,
        jpeg: 0.0,
    };

    fn gradient() -> RgbImage {
        RgbImage::from_fn(16, 16, |x, y| {
            Rgb([(x * 16) as u8, (y * 16) as u8, ((x * y) % 256) as u8])
        })
    }

    #[test]
    fn nothing_changes_nothing_and_everything_repeats() {
        let picture = gradient();
        let mut dice = Dice::new(1, "augment", 0);
        let same = NOTHING.apply(&picture, &mut dice).unwrap();
        for (a, b) in picture.pixels().zip(same.pixels()) {
            // The colour transform and back is exact to a level.
            assert!(a.0.iter().zip(b.0).all(|(a, b)| a.abs_diff(b) <= 1));
        }
        let all = Augmentation {
            blur: 1.0,
            jpeg: 1.0,
            ..Augmentation::default()
        };
        let draw = |index| {
            let mut dice = Dice::new(1, "augment", index);
            all.apply(&picture, &mut dice).unwrap()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }

    /// Bits that every machine must have; the value is what the first one gave.
    #[test]
    fn the_same_bits_everywhere() {
        let all = Augmentation {
            blur: 1.0,
            jpeg: 1.0,
            ..Augmentation::default()
        };
        let mut hash = Sha256::new();
        for index in 0..8 {
            let mut dice = Dice::new(2, "bits", index);
            hash.update(all.apply(&gradient(), &mut dice).unwrap().as_raw());
        }
        let found: String = hash.finalize()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(found, "6943c111fd384427");
    }

    #[test]
    fn a_shift_moves_and_the_edge_goes_on() {
        let mut picture = RgbImage::from_pixel(4, 4, Rgb([10, 10, 10]));
        picture.put_pixel(1, 2, Rgb([200, 200, 200]));
        let moved = placed(
            &picture,
            &Placement {
                matrix: [[1.0, 0.0], [0.0, 1.0]],
                shift: [-2.0, 0.0],
            },
        );
        assert_eq!(moved.get_pixel(3, 2).0, [200; 3]);
        assert_eq!(moved.get_pixel(0, 0).0, [10; 3]);
        // Half a pixel: the mean of two.
        let half = placed(
            &picture,
            &Placement {
                matrix: [[1.0, 0.0], [0.0, 1.0]],
                shift: [-0.5, 0.0],
            },
        );
        assert_eq!(half.get_pixel(1, 2).0, [105; 3]);
        assert_eq!(half.get_pixel(2, 2).0, [105; 3]);
    }

    #[test]
    fn a_blur_spreads_one_pixel_binomially() {
        let mut picture = RgbImage::new(5, 5);
        picture.put_pixel(2, 2, Rgb([160, 0, 0]));
        let spread = blurred(&picture);
        let red = |x, y| spread.get_pixel(x, y).0[0];
        assert_eq!(
            [red(2, 2), red(1, 2), red(1, 1), red(0, 2)],
            [40, 20, 10, 0]
        );
    }

    #[test]
    fn hues_turn_by_the_angle_whose_half_tangent_is_given() {
        assert_eq!(rotation(1.0), [0.0, 1.0]);
        let mut grey = RgbImage::from_pixel(1, 1, Rgb([90, 90, 90]));
        recolour(&mut grey, 0.4, 1.0);
        assert!(grey.get_pixel(0, 0).0.iter().all(|v| v.abs_diff(90) <= 1));
        let mut red = RgbImage::from_pixel(1, 1, Rgb([200, 20, 20]));
        recolour(&mut red, 0.05, 1.0);
        let [r, g, b] = red.get_pixel(0, 0).0;
        assert!(r > g.max(b) + 100, "still red: {r} {g} {b}");
        recolour(&mut red, 0.0, 0.5);
        assert!(red.get_pixel(0, 0).0[0].abs_diff(r / 2) <= 1);
    }

    #[test]
    fn ranges_are_checked_by_name() {
        let wrong = Augmentation {
            hue: 0.6,
            ..NOTHING
        };
        let error = wrong.validate().unwrap_err().to_string();
        assert!(
            error.contains("augmentation.hue") && error.contains("[0, 0.5]"),
            "{error}"
        );
        assert!(NOTHING.validate().is_ok());
    }
}
