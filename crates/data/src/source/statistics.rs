//! What the samples of a source hold, in figures.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Source;
use crate::DataError;
use crate::sample::Segment;
use crate::text::TextTokenizer;

/// Figures over the first samples of a source.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// How many samples the source has, if it ends.
    pub length: Option<u64>,
    /// Samples looked at: those that could be read, those that could not, and those that a rule left out.
    pub looked_at: u64,
    /// Samples that could not be read, by kind of error.
    pub failed: BTreeMap<&'static str, u64>,
    /// The first error.
    pub example: Option<String>,
    /// Samples left out, by rule.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Pictures of a sample.
    pub images: Option<Spread>,
    /// Tokens of a sample's text, without those of pictures; present if a tokenizer was given.
    pub tokens: Option<Spread>,
    /// Characters of a sample's text.
    pub characters: Option<Spread>,
    /// Characters of a sample that count in the text loss.
    pub counted_characters: Option<Spread>,
    /// Shorter sides of the pictures in pixels.
    pub shorter_sides: Option<Spread>,
}

/// How values lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub least: u64,
    /// The upper median.
    pub median: u64,
    /// The mean.
    pub mean: f64,
    /// The most.
    pub most: u64,
}

impl Statistics {
    /// Figures over the first `count` samples, or all if there are fewer.
    pub fn of(source: &dyn Source, count: u64, tokenizer: Option<&TextTokenizer>) -> Self {
        let mut found = Self {
            length: source.len(),
            ..Self::default()
        };
        let (mut images, mut characters, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
        let (mut counted_characters, mut sides) = (Vec::new(), Vec::new());
        for index in 0..count.min(source.len().unwrap_or(u64::MAX)) {
            found.looked_at += 1;
            match source.get(index) {
                Ok(sample) => {
                    images.push(sample.images.len() as u64);
                    let (mut all, mut that_count, mut of_text) = (0, 0, 0);
                    for segment in &sample.segments {
                        if let Segment::Text { text, counted } = segment {
                            let length = text.chars().count() as u64;
                            all += length;
                            that_count += if *counted { length } else { 0 };
                            let ids = tokenizer.and_then(|t| t.encode(text).ok());
                            of_text += ids.map_or(0, |ids| ids.len() as u64);
                        }
                    }
                    if tokenizer.is_some() {
                        tokens.push(of_text);
                    }
                    characters.push(all);
                    counted_characters.push(that_count);
                    let shorter =
                        |i: &crate::SampleImage| u64::from(i.image.width().min(i.image.height()));
                    sides.extend(sample.images.iter().map(shorter));
                }
                Err(DataError::Dropped { rule, .. }) => {
                    *found.dropped.entry(rule).or_default() += 1
                }
                Err(error) => {
                    *found.failed.entry(error.kind()).or_default() += 1;
                    found.example.get_or_insert_with(|| error.to_string());
                }
            }
        }
        found.images = Spread::of(images);
        found.tokens = Spread::of(tokens);
        found.characters = Spread::of(characters);
        found.counted_characters = Spread::of(counted_characters);
        found.shorter_sides = Spread::of(sides);
        found
    }
}

impl Spread {
    /// How values lie; nothing without values.
    pub fn of(mut values: Vec<u64>) -> Option<Self> {
        values.sort_unstable();
        let sum: u64 = values.iter().sum();
        Some(Self {
            least: *values.first()?,
            median: values[values.len() / 2],
            mean: sum as f64 / values.len() as f64,
            most: *values.last()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_by_hand() {
        let spread = Spread::of(vec![5, 1, 3, 7]).unwrap();
        assert_eq!((spread.least, spread.median, spread.most), (1, 5, 7));
        assert!((spread.mean - 4.0).abs() < 1e-12);
        assert_eq!(Spread::of(vec![]), None);
    }
}
