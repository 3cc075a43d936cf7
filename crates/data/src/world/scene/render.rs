//! Draws a scene. Turning and mirroring are index arithmetic on resampled drawings, so they are exact
//! and cost nothing.

use std::sync::Arc;

use image::{GrayImage, Rgb, RgbImage};

use super::spec::{Object, Orientation, Scene, Tint};
use super::sprite::{Bitmap, Sprite, luminance};
use crate::DataError;
use crate::world::corpus::Corpus;

/// A drawn scene.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The picture.
    pub image: RgbImage,
    /// For each object the pixels it covers (255), of the same size as the picture. Holes inside an
    /// outline count as covered; what a later object hides does not.
    pub masks: Vec<GrayImage>,
}

/// Draws scenes of one corpus; cheap to clone and to share between threads.
#[derive(Clone, Debug)]
pub struct Renderer {
    corpus: Arc<Corpus>,
    sprites: Arc<Vec<Sprite>>,
}

impl Renderer {
    /// A renderer for the drawings of a corpus.
    pub fn new(corpus: Arc<Corpus>) -> Self {
        let sprites = corpus
            .drawings()
            .iter()
            .map(|d| Sprite::new(&d.image))
            .collect();
        Self {
            corpus,
            sprites: Arc::new(sprites),
        }
    }

    /// The corpus.
    pub fn corpus(&self) -> &Arc<Corpus> {
        &self.corpus
    }

    /// Draws a scene on a square canvas with this side in pixels.
    ///
    /// # Errors
    /// `Unknown` if a drawing is not in the corpus; `Config` for a canvas of 0 or above 4096 pixels.
    pub fn render(&self, scene: &Scene, side: u32) -> Result<RgbImage, DataError> {
        let mut image = canvas(scene, side)?;
        for object in &scene.objects {
            self.draw(object, side, |x, y, colour, alpha, _| {
                if alpha > 0 {
                    let under = &mut image.get_pixel_mut(x, y).0;
                    for (to, from) in under.iter_mut().zip(colour) {
                        let mixed =
                            from * f32::from(alpha) + f32::from(*to) * f32::from(255 - alpha);
                        *to = (mixed / 255.0 + 0.5) as u8;
                    }
                }
            })?;
        }
        Ok(image)
    }

    /// Draws a scene with the mask of each object.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_with_masks(&self, scene: &Scene, side: u32) -> Result<Rendered, DataError> {
        let image = self.render(scene, side)?;
        let mut masks = vec![GrayImage::new(side, side); scene.objects.len()];
        for (index, object) in scene.objects.iter().enumerate() {
            self.draw(object, side, |x, y, _, _, solid| {
                if solid {
                    masks[..index]
                        .iter_mut()
                        .for_each(|m| m.get_pixel_mut(x, y).0[0] = 0);
                    masks[index].get_pixel_mut(x, y).0[0] = 255;
                }
            })?;
        }
        Ok(Rendered { image, masks })
    }

    /// How well an object stands out from a background colour: distance of the drawing's rim, as
    /// tinted, from it. Below about 60 a contour is hard to see.
    ///
    /// # Errors
    /// `Unknown` if the drawing is not in the corpus.
    pub fn contrast(
        &self,
        drawing: &str,
        tint: Tint,
        background: [u8; 3],
    ) -> Result<f32, DataError> {
        let sprite = &self.sprites[self.corpus.drawing(drawing)?];
        let rim = tinted(sprite.rim, tint, sprite.luminance);
        Ok(rim
            .iter()
            .zip(background)
            .map(|(a, b)| (a - f32::from(b)).powi(2))
            .sum::<f32>()
            .sqrt())
    }

    /// Calls `paint(x, y, colour, alpha, solid)` for each canvas pixel in the object's box.
    fn draw(
        &self,
        object: &Object,
        side: u32,
        mut paint: impl FnMut(u32, u32, [f32; 3], u8, bool),
    ) -> Result<(), DataError> {
        let sprite = &self.sprites[self.corpus.drawing(&object.drawing)?];
        let longest = ((object.size * side as f32).round() as usize).clamp(1, 2 * side as usize);
        sprite.with(longest, |bitmap| {
            let turn = Turn::new(bitmap, object.orientation, object.mirrored);
            let left = (object.center[0] * side as f32 - turn.width as f32 / 2.0).round() as i64;
            let top = (object.center[1] * side as f32 - turn.height as f32 / 2.0).round() as i64;
            for y in 0..turn.height {
                for x in 0..turn.width {
                    let (to_x, to_y) = (left + x as i64, top + y as i64);
                    if to_x < 0 || to_y < 0 || to_x >= i64::from(side) || to_y >= i64::from(side) {
                        continue;
                    }
                    let (from_x, from_y) = turn.source(x, y);
                    let pixel = bitmap.image.get_pixel(from_x as u32, from_y as u32).0;
                    let solid = bitmap.solid[from_y * bitmap.image.width() as usize + from_x];
                    if pixel[3] == 0 && !solid {
                        continue;
                    }
                    let own = [
                        f32::from(pixel[0]),
                        f32::from(pixel[1]),
                        f32::from(pixel[2]),
                    ];
                    let colour = tinted(own, object.tint, sprite.luminance);
                    paint(to_x as u32, to_y as u32, colour, pixel[3], solid);
                }
            }
        });
        Ok(())
    }
}

fn canvas(scene: &Scene, side: u32) -> Result<RgbImage, DataError> {
    if side == 0 || side > 4096 {
        return Err(DataError::config(
            "resolution",
            format!("{side} pixels; 1 to 4096 are allowed"),
        ));
    }
    let colour = scene
        .background
        .rgb()
        .map(|c| (f32::from(c) * scene.shade).round().clamp(0.0, 255.0) as u8);
    Ok(RgbImage::from_pixel(side, side, Rgb(colour)))
}

/// Lays a tint over a colour: a pixel of the drawing's median luminance takes the tint, the darkest half
/// of it, the brightest a light shade of it, so that shape and shading stay visible in one hue.
fn tinted(own: [f32; 3], tint: Tint, [dark, median, bright]: [f32; 3]) -> [f32; 3] {
    let Some(target) = tint.rgb() else { return own };
    let level = luminance(own);
    // Spans below 0.15 count as flat: line drawings and silhouettes take the tint itself.
    let share = |part: f32, span: f32| (part / span.max(0.15)).clamp(0.0, 1.0);
    let (shadow, light) = (
        share(median - level, median - dark),
        share(level - median, bright - median),
    );
    target.map(|full| {
        let full = f32::from(full);
        full * (1.0 - 0.55 * shadow) + (255.0 - full) * 0.55 * light
    })
}

/// Maps pixels of the turned drawing back to the drawing.
struct Turn {
    width: usize,
    height: usize,
    orientation: Orientation,
    mirrored: bool,
    own: (usize, usize),
}

impl Turn {
    fn new(bitmap: &Bitmap, orientation: Orientation, mirrored: bool) -> Self {
        let own = (
            bitmap.image.width() as usize,
            bitmap.image.height() as usize,
        );
        let (width, height) = match orientation {
            Orientation::Upright | Orientation::UpsideDown => own,
            Orientation::TurnedLeft | Orientation::TurnedRight => (own.1, own.0),
        };
        Self {
            width,
            height,
            orientation,
            mirrored,
            own,
        }
    }

    fn source(&self, x: usize, y: usize) -> (usize, usize) {
        let (width, height) = self.own;
        let (x, y) = match self.orientation {
            Orientation::Upright => (x, y),
            Orientation::UpsideDown => (width - 1 - x, height - 1 - y),
            // The drawing's top points to the left: its left edge is at the bottom.
            Orientation::TurnedLeft => (width - 1 - y, x),
            Orientation::TurnedRight => (y, height - 1 - x),
        };
        (if self.mirrored { width - 1 - x } else { x }, y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::corpus::{Concept, Drawing, Style, Subset};
    use crate::world::scene::{Arrangement, Background};
    use image::{Rgba, RgbaImage};

    /// A 4x4 drawing: top half red, bottom half blue, top-left pixel green.
    fn corpus() -> Arc<Corpus> {
        let mut image = RgbaImage::from_fn(4, 4, |_, y| {
            if y < 2 {
                Rgba([255, 0, 0, 255])
            } else {
                Rgba([0, 0, 255, 255])
            }
        });
        image.put_pixel(0, 0, Rgba([0, 255, 0, 255]));
        let concept = Concept {
            id: "1".into(),
            noun: "flag".into(),
            plural: "flags".into(),
            label: String::new(),
            kind: "object".into(),
            family: "flag".into(),
            subset: Subset::Core,
            orientable: true,
            tags: vec![],
            group: String::new(),
            subgroup: String::new(),
        };
        let drawing = Drawing {
            id: "1.noto".into(),
            concept: 0,
            style: Style::Noto,
            image,
        };
        Arc::new(Corpus::new(vec![concept], vec![drawing]).unwrap())
    }

    fn scene(orientation: Orientation, mirrored: bool) -> Scene {
        Scene {
            background: Background::White,
            shade: 1.0,
            arrangement: Arrangement::Single,
            objects: vec![Object {
                drawing: "1.noto".into(),
                group: 0,
                center: [0.5, 0.5],
                size: 0.5,
                orientation,
                mirrored,
                tint: Tint::Natural,
            }],
        }
    }

    #[test]
    fn turns_go_the_way_their_names_say() {
        let renderer = Renderer::new(corpus());
        let (red, blue, green) = ([255, 0, 0], [0, 0, 255], [0, 255, 0]);
        // Canvas 8x8, object in 2..6.
        for (orientation, mirrored, marks) in [
            (
                Orientation::Upright,
                false,
                [(2, 2, green), (5, 2, red), (5, 5, blue)],
            ),
            (
                Orientation::Upright,
                true,
                [(5, 2, green), (2, 2, red), (5, 5, blue)],
            ),
            (
                Orientation::UpsideDown,
                false,
                [(5, 5, green), (2, 5, red), (2, 2, blue)],
            ),
            (
                Orientation::TurnedRight,
                false,
                [(5, 2, green), (5, 5, red), (2, 2, blue)],
            ),
            (
                Orientation::TurnedLeft,
                false,
                [(2, 5, green), (2, 2, red), (5, 2, blue)],
            ),
        ] {
            let image = renderer.render(&scene(orientation, mirrored), 8).unwrap();
            for (x, y, colour) in marks {
                assert_eq!(
                    image.get_pixel(x, y).0,
                    colour,
                    "{orientation:?} {mirrored} at {x},{y}"
                );
            }
            assert_eq!(image.get_pixel(1, 1).0, [246; 3]);
        }
    }

    #[test]
    fn masks_cover_the_object_and_respect_occlusion() {
        let renderer = Renderer::new(corpus());
        let mut scene = scene(Orientation::Upright, false);
        scene.objects.push(Object {
            center: [0.75, 0.5],
            group: 1,
            ..scene.objects[0].clone()
        });
        let rendered = renderer.render_with_masks(&scene, 8).unwrap();
        let area = |m: &GrayImage| m.pixels().filter(|p| p.0[0] > 0).count();
        assert_eq!(
            (area(&rendered.masks[0]), area(&rendered.masks[1])),
            (8, 16)
        );
    }

    #[test]
    fn tints_keep_shading_and_give_the_hue() {
        let dark = tinted([0.0; 3], Tint::Red, [0.0, 0.5, 1.0]);
        let bright = tinted([255.0; 3], Tint::Red, [0.0, 0.5, 1.0]);
        assert!(luminance(dark) < luminance(bright));
        let flat = tinted([51.0; 3], Tint::Red, [luminance([51.0; 3]); 3]);
        assert_eq!(
            flat,
            [226.0, 28.0, 36.0],
            "a line drawing takes the tint itself"
        );
        for colour in [dark, bright] {
            assert!(
                colour[0] > colour[1] + 60.0 && colour[0] > colour[2] + 60.0,
                "{colour:?}"
            );
        }
        assert_eq!(
            tinted([1.0, 2.0, 3.0], Tint::Natural, [0.0, 0.5, 1.0]),
            [1.0, 2.0, 3.0]
        );
    }

    #[test]
    fn unknown_drawings_and_sizes_are_errors() {
        let renderer = Renderer::new(corpus());
        let mut scene = scene(Orientation::Upright, false);
        assert!(renderer.render(&scene, 0).is_err());
        scene.objects[0].drawing = "2.noto".into();
        assert!(
            renderer
                .render(&scene, 8)
                .unwrap_err()
                .to_string()
                .contains("2.noto")
        );
    }
}
