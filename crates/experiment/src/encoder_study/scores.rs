//! Figures of what encoders answered: with intervals over pairs (pictures, drawings) and seeds, and paired differences
//! from the untouched encoder.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use deem_engine::EngineError;
use deem_metrics::figures::{Family, Figure, Part};
use deem_metrics::statistics::{
    Difference, Interval, Scored, accuracy, paired_by_part, paired_difference,
};
use serde::{Deserialize, Serialize};

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Pairs by their captions, as MMVP-VLM scores.
    Captions,
    /// The same with the captions exchanged: what is right here was told apart the wrong way round.
    Crossed,
    /// Pairs by linear probes of the embedding.
    Probe,
    /// Pairs by linear probes of the features before the projection.
    ProbeFeatures,
    /// Which label a picture shows.
    ZeroShot,
    /// Which class's mean a picture is most like.
    ClassMeans,
    /// The caption of a picture among all, and the picture of a caption.
    Retrieval,
}

impl Kind {
    /// Benchmarks, the one that the study is about first.
    pub const BENCHMARKS: [Self; 6] = [
        Self::Captions,
        Self::Probe,
        Self::ProbeFeatures,
        Self::ZeroShot,
        Self::ClassMeans,
        Self::Retrieval,
    ];

    /// The benchmarks that an exam asks, by the answers to it.
    pub fn asked(answers: &BySeed) -> Vec<Self> {
        let mut kinds = Self::BENCHMARKS.to_vec();
        kinds.retain(|kind| kind.is_in(answers));
        kinds
    }

    /// Whether there are answers of it.
    pub fn is_in(self, answers: &BySeed) -> bool {
        let mut all = answers.iter().flat_map(|(_, answers)| answers);
        all.any(|answer| answer.kind == self)
    }

    /// Key, title, what it measures, name of its figure, what guessing gets in percent.
    fn described(
        self,
    ) -> (
        &'static str,
        &'static str,
        &'static str,
        &'static str,
        Option<f64>,
    ) {
        match self {
            Self::Captions => (
                "caption_pairs",
                "Pairs by captions",
                "each of two statements must lie nearer to its own picture than to the other (MMVP-VLM)",
                "pair_accuracy",
                Some(25.0),
            ),
            Self::Crossed => (
                "crossed_pairs",
                "Pairs told apart the wrong way round",
                "each of two statements lies nearer to the other picture: as often as the right way round where the \
                 words mean nothing to the text tower",
                "pair_accuracy",
                Some(25.0),
            ),
            Self::Probe => (
                "probed_pairs",
                "Pairs by probes",
                "the same pairs, told apart by linear probes of the embedding, fitted on training scenes",
                "pair_accuracy",
                Some(25.0),
            ),
            Self::ProbeFeatures => (
                "probed_features",
                "Pairs by probes of the features",
                "the same before the projection to the space of texts",
                "pair_accuracy",
                Some(25.0),
            ),
            Self::ZeroShot => (
                "zero_shot",
                "Zero-shot classification",
                "which of the labels that the text tower knows a new drawing shows: what must be retained",
                "accuracy",
                None,
            ),
            Self::ClassMeans => (
                "class_means",
                "Classification by class means",
                "whose examples' mean embedding a new photograph is most like",
                "accuracy",
                None,
            ),
            Self::Retrieval => (
                "retrieval",
                "Retrieval",
                "whether a caption and its picture find each other among all: what must be retained",
                "recall_at_1",
                None,
            ),
        }
    }
}

/// One answer of an encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderAnswer {
    /// What was asked.
    pub kind: Kind,
    /// Attribute, or direction of retrieval; empty where there are no parts.
    pub part: String,
    /// Identifies the question among those of its kind.
    pub id: String,
    /// Answers of one cluster are not independent.
    pub cluster: String,
    /// Whether it is right.
    pub right: bool,
}

/// Reads answers that an earlier run left; nothing if there are none.
///
/// # Errors
/// `Io`, or `File` for a file that is damaged.
pub fn read(path: &Path) -> Result<Option<Vec<EncoderAnswer>>, EngineError> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(EngineError::io(path))?,
    };
    let answers = serde_json::from_str(&text).map_err(|error| EngineError::File {
        path: path.into(),
        problem: format!("{error}; expected the answers of an encoder, delete it to ask again"),
    })?;
    Ok(Some(answers))
}

/// Keeps answers. The file appears whole or not at all.
///
/// # Errors
/// `Io` naming the file.
pub fn write(path: &Path, answers: &[EncoderAnswer]) -> Result<(), EngineError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(EngineError::io(folder))?;
    }
    let text = serde_json::to_string(answers).expect("plain data");
    let part = path.with_extension("part");
    fs::write(&part, text).map_err(EngineError::io(&part))?;
    fs::rename(&part, path).map_err(EngineError::io(path))
}

/// What an encoder answered with each seed.
pub type BySeed = Vec<(u64, Vec<EncoderAnswer>)>;

/// Figures of a kind: of the whole, then of its parts.
///
/// # Errors
/// `Metrics` if nothing was answered.
pub fn family(kind: Kind, answers: &BySeed) -> Result<Family, EngineError> {
    let (name, title, about, figure, chance) = kind.described();
    let figure = |answers: &[Scored]| -> Result<Figure, EngineError> {
        let found = Figure::percent(figure, accuracy(answers)?);
        let mut found = match chance {
            Some(chance) => found.chance(chance),
            None => found,
        };
        for (seed, own) in grouped(answers, |answer| answer.seed) {
            let right: f64 = own.iter().map(|answer| answer.value).sum();
            found
                .per_seed
                .insert(seed, 100.0 * right / own.len() as f64);
        }
        Ok(found)
    };
    let all = scored(kind, answers);
    let parts = grouped(&all, |answer| part(answer).to_owned());
    let mut found = vec![Part::new("all", [figure(&all)?])];
    if parts.len() > 1 {
        for (name, answers) in &parts {
            found.push(Part::new(name, [figure(answers)?]));
        }
    }
    Ok(Family {
        parts: found,
        ..Family::new(name, title).about(about)
    })
}

/// Paired differences of a kind, of the whole and of its parts, and the same as figures.
///
/// # Errors
/// `Metrics` unless both sides answered the same questions.
pub fn difference(
    kind: Kind,
    treatment: &BySeed,
    control: &BySeed,
) -> Result<(Difference, Family), EngineError> {
    let (treatment_answers, control) = (scored(kind, treatment), scored(kind, control));
    let total = paired_difference(&treatment_answers, &control)?;
    let parts = paired_by_part(&treatment_answers, &control, |answer| {
        part(answer).to_owned()
    })?;
    let family = family(kind, treatment)?.differences(&total, &parts);
    Ok((total, family))
}

/// What `--json` says of an arm, in percent; differences are to the untouched encoder, in points, and none of it itself.
/// What the exam does not ask is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Pairs told apart by their captions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair_accuracy: Option<f64>,
    /// The same by attribute.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub patterns: BTreeMap<String, f64>,
    /// Pictures whose label was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_shot: Option<f64>,
    /// Of pair accuracy.
    pub difference: Option<Interval>,
    /// Pairs told apart the wrong way round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crossed: Option<f64>,
    /// The other benchmarks by their keys.
    pub others: BTreeMap<String, Other>,
}

/// A benchmark beside pair accuracy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Other {
    /// Of the whole.
    pub accuracy: f64,
    /// By part, where there are parts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, f64>,
    /// Of the whole.
    pub difference: Option<Interval>,
}

impl Summary {
    /// Of an arm, compared with the untouched encoder.
    ///
    /// # Errors
    /// As [`family`] and [`difference`].
    pub fn new(answers: &BySeed, untouched: Option<&BySeed>) -> Result<Self, EngineError> {
        let mut summary = Self::default();
        if Kind::Crossed.is_in(answers) {
            summary.crossed = Some(other(Kind::Crossed, answers, None)?.accuracy);
        }
        for kind in Kind::asked(answers) {
            let found = other(kind, answers, untouched)?;
            match kind {
                Kind::Captions => {
                    summary.pair_accuracy = Some(found.accuracy);
                    summary.patterns = found.parts;
                    summary.difference = found.difference;
                    continue;
                }
                Kind::ZeroShot => summary.zero_shot = Some(found.accuracy),
                _ => {}
            }
            summary.others.insert(kind.described().0.to_owned(), found);
        }
        Ok(summary)
    }
}

fn other(kind: Kind, answers: &BySeed, untouched: Option<&BySeed>) -> Result<Other, EngineError> {
    let family = family(kind, answers)?;
    let means = family.parts.iter().filter_map(|part| {
        let figure = part.figures.first()?;
        Some((part.name.clone(), figure.mean))
    });
    let mut parts: BTreeMap<String, f64> = means.collect();
    let compared = untouched.map(|control| difference(kind, answers, control));
    Ok(Other {
        accuracy: parts.remove("all").unwrap_or_default(),
        parts,
        difference: compared.transpose()?.map(|(d, _)| d.percent().interval),
    })
}

/// Between the part and the id in a question's name.
const BETWEEN: char = '\u{1f}';

fn scored(kind: Kind, answers: &BySeed) -> Vec<Scored> {
    let of_seed = |(seed, answers): &(u64, Vec<EncoderAnswer>)| {
        let own = answers.iter().filter(|answer| answer.kind == kind);
        let own = own.map(|answer| {
            let question = format!("{}{BETWEEN}{}", answer.part, answer.id);
            let value = f64::from(u8::from(answer.right));
            Scored::new(*seed, answer.cluster.clone(), question, value)
        });
        own.collect::<Vec<_>>()
    };
    answers.iter().flat_map(of_seed).collect()
}

fn part(answer: &Scored) -> &str {
    answer.question.split(BETWEEN).next().unwrap_or_default()
}

fn grouped<K: Ord>(answers: &[Scored], key: impl Fn(&Scored) -> K) -> BTreeMap<K, Vec<Scored>> {
    let mut groups: BTreeMap<K, Vec<Scored>> = BTreeMap::new();
    for answer in answers {
        groups.entry(key(answer)).or_default().push(answer.clone());
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(right: [bool; 4]) -> Vec<EncoderAnswer> {
        let kinds = [
            Kind::Captions,
            Kind::Crossed,
            Kind::Probe,
            Kind::ProbeFeatures,
            Kind::ZeroShot,
            Kind::Retrieval,
        ];
        let of = |kind| {
            right
                .into_iter()
                .enumerate()
                .map(move |(number, right)| EncoderAnswer {
                    kind,
                    part: ["colour", "quantity"][number / 2].to_owned(),
                    id: number.to_string(),
                    cluster: number.to_string(),
                    right,
                })
        };
        kinds.into_iter().flat_map(of).collect()
    }

    #[test]
    fn figures_and_differences_by_hand() {
        let control: BySeed = vec![
            (1, answers([true, false, false, false])),
            (2, answers([true, false, false, false])),
        ];
        let treatment: BySeed = vec![
            (1, answers([true, true, false, false])),
            (2, answers([true, true, true, false])),
        ];
        let family = family(Kind::Captions, &treatment).unwrap();
        assert_eq!(family.headline().unwrap().mean, 62.5);
        assert_eq!(
            family.headline().unwrap().per_seed,
            BTreeMap::from([(1, 50.0), (2, 75.0)])
        );
        assert_eq!(
            family.figure("quantity", "pair_accuracy").unwrap().mean,
            25.0
        );
        let (total, parts) = difference(Kind::Captions, &treatment, &control).unwrap();
        assert_eq!(
            (total.interval.mean, total.wins, total.losses),
            (0.375, 3, 0)
        );
        assert_eq!((total.clusters, total.seeds), (4, 2));
        assert_eq!(parts.figure("colour", "pair_accuracy").unwrap().mean, 50.0);
        let summary = Summary::new(&treatment, Some(&control)).unwrap();
        assert_eq!(summary.difference.unwrap().mean, 37.5);
        assert_eq!(summary.patterns["colour"], 100.0);
        assert_eq!(summary.others["zero_shot"].difference.unwrap().mean, 37.5);
        assert!(!summary.others.contains_key("class_means"));
        assert_eq!(Summary::new(&control, None).unwrap().difference, None);
    }

    #[test]
    fn answers_are_kept_and_a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("arm/answers.json");
        assert_eq!(read(&path).unwrap(), None);
        let all = answers([true, false, true, false]);
        write(&path, &all).unwrap();
        assert_eq!(read(&path).unwrap(), Some(all));
        fs::write(&path, "[{\"kind\": \"capt").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(
            error.contains("answers.json") && error.contains("delete it"),
            "{error}"
        );
    }
}
