//! Collects rows into a batch of plain arrays, padded, with the pixels of all images.

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::dice::Dice;
use crate::image::ViewConfig;
use crate::pack::{IGNORED, PackConfig, Packed};
use crate::sample::Sample;
use crate::text::TextTokenizer;

/// On which side rows are filled up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// After the tokens: training.
    #[default]
    Right,
    /// Before the tokens: generation.
    Left,
}

/// How batches are laid out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchConfig {
    /// Packing of samples into rows.
    pub pack: PackConfig,
    /// Sizes of the image views.
    pub views: ViewConfig,
    /// Padding side.
    #[serde(default)]
    pub padding: Padding,
    /// Length of every row; without it the longest row decides.
    #[serde(default)]
    pub fixed_length: Option<usize>,
    /// Seed of random crops; with it a sample's place in the run decides.
    #[serde(default)]
    pub seed: u64,
}

/// Rows of tokens with their images; see the fields for shapes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Number of rows.
    pub batch: usize,
    /// Length of each row.
    pub seq: usize,
    /// `[batch, seq]`
    pub tokens: Vec<i64>,
    /// `[batch, seq]`, the token itself where it counts in the text loss, -100 elsewhere.
    pub labels: Vec<i64>,
    /// `[batch, seq]`, false for padding.
    pub valid: Vec<bool>,
    /// The images, row by row, in reading order.
    pub images: Vec<BatchImage>,
    /// Side E of the encoder view.
    pub encoder_side: usize,
    /// Side D of the diffusion view; 0 without one.
    pub diffusion_side: usize,
    /// `[images, 3, E, E]`, `[0, 1]`
    pub encoder_pixels: Vec<f32>,
    /// `[images, 3, D, D]`, `[0, 1]`; empty without a diffusion view.
    pub diffusion_pixels: Vec<f32>,
    /// `[images, E, E]`, 1 inside; present if any image has a region, all ones for those that have none.
    pub masks: Option<Vec<f32>>,
    /// Positions of bos, `(row, position)`.
    pub document_starts: Vec<(usize, usize)>,
    /// Ids of the samples that went in.
    pub ids: Vec<String>,
}

/// Where an image stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchImage {
    /// Row of the batch.
    pub row: usize,
    /// Position of `<soi>`; the placeholders follow.
    pub soi: usize,
    /// Position of the nearest bos before it.
    pub document_start: usize,
    /// Whether it counts in the image loss.
    pub counted_nip: bool,
    /// Id of the picture.
    pub id: String,
}

/// Makes batches.
#[derive(Clone, Debug)]
pub struct Collator {
    config: BatchConfig,
    tokenizer: TextTokenizer,
}

impl Collator {
    /// A collator.
    pub fn new(config: BatchConfig, tokenizer: TextTokenizer) -> Self {
        Self { config, tokenizer }
    }

    /// Its settings.
    pub fn config(&self) -> &BatchConfig {
        &self.config
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    /// Tokens of a sample as a row of its own, were rows as long as they need to be.
    ///
    /// # Errors
    /// Those of [`PackConfig::pack`].
    pub fn length(&self, sample: &Sample) -> Result<usize, DataError> {
        let endless = PackConfig {
            max_tokens: usize::MAX,
            ..self.config.pack.clone()
        };
        let packed = endless.pack(std::slice::from_ref(sample), &self.tokenizer)?;
        Ok(packed.tokens.len())
    }

    /// One sample a row.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub fn samples(&self, samples: &[Sample]) -> Result<Batch, DataError> {
        self.rows(&samples.chunks(1).collect::<Vec<_>>())
    }

    /// Packs each list of samples into a row and pads the rows.
    ///
    /// # Errors
    /// Those of packing and of the image views; `Config` if a row exceeds the fixed length.
    pub fn rows(&self, rows: &[&[Sample]]) -> Result<Batch, DataError> {
        self.draws(rows, 0)
    }

    /// As [`Self::rows`], of the samples at `first` and onwards in the order of a run: that place, and so
    /// epoch and sample, decides what a random crop shows.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub fn draws(&self, rows: &[&[Sample]], first: u64) -> Result<Batch, DataError> {
        let packed: Vec<Packed> = rows
            .iter()
            .map(|r| self.config.pack.pack(r, &self.tokenizer))
            .collect::<Result<_, _>>()?;
        let longest = packed.iter().map(|p| p.tokens.len()).max().unwrap_or(0);
        let seq = self.config.fixed_length.unwrap_or(longest);
        if longest > seq {
            let reason =
                format!("a row has {longest} tokens, more than {seq}; set max_tokens to {seq} too");
            return Err(DataError::config("fixed_length", reason));
        }
        let mut batch = Batch {
            batch: rows.len(),
            seq,
            tokens: vec![i64::from(self.tokenizer.special().pad); rows.len() * seq],
            labels: vec![IGNORED; rows.len() * seq],
            valid: vec![false; rows.len() * seq],
            encoder_side: self.config.views.encoder as usize,
            diffusion_side: self.config.views.diffusion as usize,
            ..Batch::default()
        };
        for (row, (packed, samples)) in packed.iter().zip(rows).enumerate() {
            let offset = match self.config.padding {
                Padding::Right => 0,
                Padding::Left => seq - packed.tokens.len(),
            };
            let start = row * seq + offset;
            for (i, (token, label)) in packed.tokens.iter().zip(&packed.labels).enumerate() {
                batch.tokens[start + i] = i64::from(*token);
                batch.labels[start + i] = *label;
                batch.valid[start + i] = true;
            }
            batch
                .document_starts
                .extend(packed.document_starts.iter().map(|p| (row, p + offset)));
            batch
                .ids
                .extend(samples.iter().take(packed.samples).map(|s| s.id.clone()));
            for image in &packed.images {
                let picture = &samples[image.sample].images[image.image];
                batch.images.push(BatchImage {
                    row,
                    soi: image.soi + offset,
                    document_start: image.document_start + offset,
                    counted_nip: image.counted,
                    id: picture.id.clone(),
                });
            }
        }
        self.pixels(&mut batch, &packed, rows, first)?;
        Ok(batch)
    }

    fn pixels(
        &self,
        batch: &mut Batch,
        packed: &[Packed],
        rows: &[&[Sample]],
        first: u64,
    ) -> Result<(), DataError> {
        let views = self.config.views;
        let images = batch.images.len();
        let values = |side: usize| images * 3 * side * side;
        batch
            .encoder_pixels
            .reserve_exact(values(batch.encoder_side));
        batch
            .diffusion_pixels
            .reserve_exact(values(batch.diffusion_side));
        let mut masks: Vec<Option<Vec<f32>>> = Vec::with_capacity(images);
        let mut row_starts_at = first;
        for (packed, samples) in packed.iter().zip(rows) {
            for image in &packed.images {
                let picture = &samples[image.sample].images[image.image];
                let id = &picture.id;
                let draw = row_starts_at.wrapping_add(image.sample as u64);
                let purpose = format!("crop {}", image.image);
                let mut dice = Dice::new(self.config.seed, &purpose, draw);
                let into = [&mut batch.encoder_pixels, &mut batch.diffusion_pixels];
                let (picture, mask) = (&picture.image, picture.mask.as_ref());
                masks.push(views.append(id, picture, mask, &mut dice, into)?);
            }
            row_starts_at = row_starts_at.wrapping_add(samples.len() as u64);
        }
        if masks.iter().any(Option::is_some) {
            let area = batch.encoder_side * batch.encoder_side;
            batch.masks = Some(
                masks
                    .into_iter()
                    .flat_map(|m| m.unwrap_or_else(|| vec![1.0; area]))
                    .collect(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Crop;
    use crate::sample::{SampleImage, Segment};
    use image::{GrayImage, Luma, Rgb, RgbImage};

    fn sample(words: &str, shade: u8, masked: bool) -> Sample {
        Sample {
            id: words.into(),
            segments: vec![
                Segment::Image {
                    index: 0,
                    counted: true,
                },
                Segment::Text {
                    text: words.into(),
                    counted: true,
                },
            ],
            images: vec![SampleImage {
                id: format!("{words}.png"),
                image: RgbImage::from_pixel(4, 4, Rgb([shade, 0, 0])),
                mask: masked.then(|| GrayImage::from_fn(4, 4, |x, _| Luma([u8::from(x < 2)]))),
            }],
            provenance: vec![],
        }
    }

    fn collator(padding: Padding, fixed_length: Option<usize>) -> Collator {
        let config = BatchConfig {
            pack: PackConfig {
                max_tokens: 16,
                image_tokens: 2,
                count_first_image: false,
            },
            views: ViewConfig {
                encoder: 2,
                diffusion: 4,
                crop: Crop::Center,
            },
            padding,
            fixed_length,
            seed: 0,
        };
        Collator::new(config, TextTokenizer::builtin().unwrap())
    }

    #[test]
    fn what_would_be_cut_has_its_whole_length() {
        let collator = collator(Padding::Right, None);
        let long = sample(&format!("a cat{}", " a cat".repeat(19)), 0, false);
        let short = collator.length(&sample("a cat", 0, false)).unwrap();
        assert_eq!(short, 6);
        assert_eq!(collator.length(&long).unwrap(), short + 2 * 19);
        assert_eq!(collator.samples(&[long]).unwrap().seq, 16);
    }

    #[test]
    fn rows_are_padded_on_the_side_asked_for() {
        let samples = [sample("a cat", 255, false), sample("a", 0, true)];
        let right = collator(Padding::Right, None).samples(&samples).unwrap();
        assert_eq!((right.batch, right.seq), (2, 6));
        assert_eq!(right.valid[6..], [true, true, true, true, true, false]);
        assert_eq!(right.images[1].soi, 1);
        let left = collator(Padding::Left, Some(8)).samples(&samples).unwrap();
        assert_eq!(left.seq, 8);
        assert_eq!(
            left.valid[8..],
            [false, false, false, true, true, true, true, true]
        );
        assert_eq!(
            (
                left.images[1].row,
                left.images[1].soi,
                left.images[1].document_start
            ),
            (1, 4, 3)
        );
        assert_eq!(left.document_starts, [(0, 2), (1, 3)]);
        assert_eq!(left.tokens[8 + 4], left.tokens[3]);
        assert!(collator(Padding::Left, Some(5)).samples(&samples).is_err());
    }

    #[test]
    fn pixels_and_masks_stand_in_image_order() {
        let samples = [sample("a cat", 255, false), sample("a", 0, true)];
        let batch = collator(Padding::Right, None).samples(&samples).unwrap();
        assert_eq!((batch.encoder_side, batch.diffusion_side), (2, 4));
        assert_eq!(batch.encoder_pixels.len(), 2 * 3 * 4);
        assert_eq!(batch.diffusion_pixels.len(), 2 * 3 * 16);
        assert_eq!(batch.encoder_pixels[..4], [1.0; 4]);
        assert_eq!(batch.encoder_pixels[4..], [0.0; 20]);
        assert_eq!(
            batch.masks.unwrap(),
            [1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0]
        );
        let batch = collator(Padding::Right, None)
            .samples(&samples[..1])
            .unwrap();
        assert_eq!(batch.masks, None);
    }
}
