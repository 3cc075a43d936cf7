//! Descriptions of whole pictures: COCO, NoCaps, Flickr30k, and paragraphs.

use std::collections::BTreeMap;
use std::path::Path;

use deem_data::DataError;
use deem_data::benchmark::{
    Item, read_coco_captions, read_flickr30k, read_image_paragraphs, read_nocaps,
};
use deem_data::image::ImageLimits;
use deem_data::text::caption_prompt;
use deem_metrics::answer::ParseMode;
use deem_metrics::caption::{CaptionSample, CaptionScores, Meteor, score};
use deem_metrics::figures::{Family, Figure, Unit};
use deem_metrics::statistics::{Scored, mean};

use super::{AnswerForm, Answered, Answering, Benchmark, Question, Worth, parts};
use crate::EngineError;
use crate::generate::{Sampling, TextOptions};

/// One of these benchmarks: they differ in their files and in how long a description is.
#[derive(Clone, Copy, Debug)]
pub struct Captions {
    name: &'static str,
    title: &'static str,
    layout: &'static str,
    read: fn(&Path) -> Result<Vec<Item>, DataError>,
    tokens: [usize; 2],
}

/// Fewest and most new tokens of a caption, as in the paper.
const CAPTION: [usize; 2] = [8, 20];
/// Of a paragraph: people wrote 60 words and more.
const PARAGRAPH: [usize; 2] = [8, 160];

impl Captions {
    /// COCO.
    pub const COCO: Self = Self {
        name: "coco_captions",
        title: "COCO captions",
        layout: "dataset_coco.json (Karpathy's splits) or one captions_*.json, pictures anywhere below",
        read: read_coco_captions,
        tokens: CAPTION,
    };
    /// NoCaps.
    pub const NOCAPS: Self = Self {
        name: "nocaps",
        title: "NoCaps",
        layout: "nocaps_val_4500_captions.json, pictures anywhere below",
        read: read_nocaps,
        tokens: CAPTION,
    };
    /// Flickr30k.
    pub const FLICKR30K: Self = Self {
        name: "flickr30k",
        title: "Flickr30k",
        layout: "dataset_flickr30k.json (Karpathy's splits) or results_20130124.token, pictures anywhere below",
        read: read_flickr30k,
        tokens: CAPTION,
    };
    /// Image2Paragraph.
    pub const PARAGRAPHS: Self = Self {
        name: "image2paragraph",
        title: "Image2Paragraph",
        layout: "paragraphs_v1.json, test_split.json, Visual Genome's pictures anywhere below",
        read: read_image_paragraphs,
        tokens: PARAGRAPH,
    };
}

impl Benchmark for Captions {
    fn name(&self) -> &str {
        self.name
    }

    fn title(&self) -> &str {
        self.title
    }

    fn layout(&self) -> &str {
        self.layout
    }

    fn read(&self, folder: &Path, _limits: ImageLimits) -> Result<Vec<Item>, DataError> {
        (self.read)(folder)
    }

    fn answering(&self) -> Answering {
        let [min_new_tokens, max_new_tokens] = self.tokens;
        Answering {
            written: Some(TextOptions {
                max_new_tokens,
                min_new_tokens,
                beams: 5,
                sampling: Sampling::Greedy,
            }),
            likelihood: false,
        }
    }

    fn ask(&self, _item: &Item) -> Question {
        Question {
            segments: caption_prompt(0),
            text: String::new(),
            form: AnswerForm::Text,
        }
    }

    /// The whole, then each domain of NoCaps.
    fn family(&self, answers: &[Answered<'_>], _mode: ParseMode) -> Result<Family, EngineError> {
        Ok(Family {
            parts: parts::by_pattern(answers, figures)?,
            ..Family::new(self.name, self.title).about("descriptions of whole pictures")
        })
    }

    fn worth(&self, answers: &[Answered<'_>], _mode: ParseMode) -> Result<Vec<Worth>, EngineError> {
        worth(answers)
    }
}

/// CIDEr and the rest, a hundred times what the tools print, as papers do.
pub(super) fn figures(answers: &[Answered<'_>]) -> Result<Vec<Figure>, EngineError> {
    let seeds = seeds(answers)?;
    let count = seeds.len() as f64;
    let average = |value: fn(&CaptionScores) -> f64| {
        100.0 * seeds.iter().map(|(scores, _)| value(scores)).sum::<f64>() / count
    };
    let cider = mean(&cider(&seeds))?.within(0.0, 10.0).scaled(100.0);
    Ok(vec![
        Figure::new("cider", cider, Unit::Score).titled("CIDEr"),
        Figure::plain("bleu_4", average(|s| s.bleu[3]), Unit::Score).titled("BLEU-4"),
        Figure::plain("meteor", average(|s| s.meteor), Unit::Score).titled("METEOR (exact, stem)"),
        Figure::plain("rouge_l", average(|s| s.rouge_l), Unit::Score).titled("ROUGE-L"),
    ])
}

/// CIDEr of each description, for paired comparisons.
pub(super) fn worth(answers: &[Answered<'_>]) -> Result<Vec<Worth>, EngineError> {
    Ok(cider(&seeds(answers)?)
        .into_iter()
        .map(Worth::from)
        .collect())
}

/// Scores of one seed, and whose they are.
type Seed<'a> = (CaptionScores, Vec<&'a Answered<'a>>);

/// CIDEr weighs words by the set they are in: each seed by itself.
fn seeds<'a>(answers: &'a [Answered<'a>]) -> Result<Vec<Seed<'a>>, EngineError> {
    let mut seeds: BTreeMap<u64, Vec<&Answered<'_>>> = BTreeMap::new();
    for answered in answers {
        seeds.entry(answered.seed).or_default().push(answered);
    }
    let meteor = Meteor::new();
    let scored = seeds.into_values().map(|answers| {
        let captions: Vec<CaptionSample> = answers
            .iter()
            .map(|answered| CaptionSample {
                candidate: answered.record.answer.trim().to_owned(),
                references: answered.record.truth.clone(),
            })
            .collect();
        Ok((score(&captions, &meteor)?, answers))
    });
    scored.collect()
}

fn cider(seeds: &[Seed<'_>]) -> Vec<Scored> {
    let of_seed = |(scores, answers): &Seed<'_>| -> Vec<Scored> {
        let samples = scores.samples.iter().zip(answers);
        samples
            .map(|(score, answered)| {
                let record = answered.record;
                let (cluster, id) = (record.cluster.clone(), record.id.clone());
                Scored::new(answered.seed, cluster, id, score.cider)
            })
            .collect()
    };
    seeds.iter().flat_map(of_seed).collect()
}
