//! What an encoder is asked: pairs, labels, captions of drawings that were never trained on, and scenes for its probes.

use std::collections::BTreeSet;

use burn::tensor::Device;
use deem_data::DataError;
use deem_data::world::benchmark::{BenchmarkConfig, CaptionPair, caption_pairs, values_seen};
use deem_data::world::corpus::{Part, Role};
use deem_data::world::scene::wording::with_article;
use deem_data::world::scene::{Attribute, Facts, Pool, SceneConfig};
use deem_data::world::{SceneFeed, World};
use deem_engine::{EngineError, dot, matrix, unit};
use deem_metrics::pairs::captions_find_their_images;
use deem_model::clip::tower::ImageTower;
use deem_model::encoder_feedback::EncoderFeatures;
use image::RgbImage;

use super::config::{EncoderStudyConfig, Photographs, Sizes};
use super::photographs::shown;
use super::probe::directions;
use super::scores::{EncoderAnswer, Kind};
use crate::built_in::BuiltIn;
use crate::pretrain::pixels;
use crate::standins::StandIns;

/// Pictures embedded together.
const CHUNK: usize = 64;
/// Seed of all scenes; training uses small seeds.
const SEED: u64 = 20_260_309;
/// Scenes looked at for each one that is wanted, before a request counts as impossible.
const PATIENCE: u64 = 50;
/// Attributes that probes are fitted for.
const PROBED: [Attribute; 7] = [
    Attribute::Presence,
    Attribute::Quantity,
    Attribute::Colour,
    Attribute::Position,
    Attribute::Orientation,
    Attribute::Background,
    Attribute::Structure,
];

/// A picture of one thing.
struct Labelled {
    image: RgbImage,
    /// Position among the labels.
    label: usize,
    /// Its drawing or file: pictures of one drawing are not independent.
    source: String,
}

/// What stands for a class.
enum Classes {
    /// Embeddings of a sentence each.
    Sentences(Vec<Vec<f64>>),
    /// The mean of the embeddings of pictures with their labels, of so many classes.
    Means(Vec<RgbImage>, Vec<usize>, usize),
}

/// The exam of a split. Texts are embedded once: their tower stays as it is.
pub struct EncoderExam {
    side: u32,
    pairs: Vec<CaptionPair>,
    /// Embeddings of the pairs' captions, of unit length.
    statements: Vec<[Vec<f64>; 2]>,
    labelled: Vec<Labelled>,
    classes: Classes,
    sentences: Vec<String>,
    retrieved: Vec<RgbImage>,
    captions: Vec<Vec<f64>>,
    scenes: Vec<RgbImage>,
    /// Of each attribute in [`PROBED`] what each scene shows.
    shown: Vec<Vec<BTreeSet<String>>>,
}

impl EncoderExam {
    /// The exam of a split.
    ///
    /// # Errors
    /// Stand-ins that are missing, or a split that is too small; `Stopped` once `interrupted` says so.
    pub fn new(
        standins: &StandIns,
        data: &BuiltIn,
        study: &EncoderStudyConfig,
        role: Role,
        device: &Device,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Self, EngineError> {
        let (world, sizes) = (&data.world, study.sizes);
        let side = data.resolution();
        let config = BenchmarkConfig {
            resolution: side,
            mmvp_pairs: sizes.pairs,
            ..BenchmarkConfig::default()
        };
        let pairs = caption_pairs(world, &config, role, interrupted);
        let pairs = pairs.map_err(|error| match error {
            DataError::Interrupted => EngineError::Stopped,
            other => other.into(),
        })?;
        let concepts = known(world);
        let (labelled, retrieval) = (
            labelled(world, role, &concepts, sizes.zero_shot, side)?,
            retrieval(world, role, sizes.retrieval, side)?,
        );
        let feed = data.feed("encoder probe", SEED)?;
        let captioner = world.captioner();
        let mut scenes = Vec::with_capacity(sizes.probe);
        let mut shown = vec![Vec::with_capacity(sizes.probe); PROBED.len()];
        for index in 0..sizes.probe as u64 {
            if interrupted() {
                return Err(EngineError::Stopped);
            }
            let pair = feed.pair(index, false)?;
            scenes.push(pair.image);
            for (shown, attribute) in shown.iter_mut().zip(PROBED) {
                shown.push(values_seen(attribute, &pair.facts, &captioner));
            }
        }
        let encoder = standins.encoder(study.encoder.name(), device)?;
        let embed = |texts: &[String]| -> Result<Vec<Vec<f64>>, EngineError> {
            Ok(encoder.texts(texts)?.into_iter().map(unit).collect())
        };
        let statements: Vec<String> = pairs.iter().flat_map(|p| p.captions.clone()).collect();
        let mut statements = embed(&statements)?.into_iter();
        let statements = pairs.iter().map(|_| {
            let mut next = || statements.next().unwrap_or_default();
            [next(), next()]
        });
        let statements = statements.collect();
        let sentence = |concept: &usize| {
            let noun = with_article(captioner.noun(*concept));
            format!("a photo of {noun}")
        };
        let sentences: Vec<String> = concepts.iter().map(sentence).collect();
        let (retrieved, captions): (Vec<_>, Vec<_>) = retrieval.into_iter().unzip();
        Ok(Self {
            side,
            statements,
            pairs,
            labelled,
            classes: Classes::Sentences(embed(&sentences)?),
            sentences,
            retrieved,
            captions: embed(&captions)?,
            scenes,
            shown,
        })
    }

    /// The exam of photographs.
    ///
    /// # Errors
    /// `Data` naming a folder or picture that cannot be read, `Stopped` once `interrupted` says so.
    pub fn of_photographs(
        photographs: &Photographs,
        sizes: Sizes,
        side: u32,
        validation: bool,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Self, EngineError> {
        let shown = shown(photographs, sizes, side, validation, interrupted)?;
        let labelled = shown.labelled.into_iter();
        let labelled = labelled.map(|(source, image, label)| Labelled {
            image,
            label,
            source,
        });
        let (images, labels) = shown.examples.into_iter().unzip();
        let (scenes, views): (Vec<_>, Vec<_>) = shown.scenes.into_iter().unzip();
        let values = |attribute| {
            let values = views.iter().map(move |view| view.value(attribute));
            let values = values.map(|value| value.map(str::to_owned).into_iter().collect());
            values.collect::<Vec<BTreeSet<String>>>()
        };
        Ok(Self {
            side,
            pairs: shown.pairs,
            statements: Vec::new(),
            labelled: labelled.collect(),
            classes: Classes::Means(images, labels, shown.classes),
            sentences: Vec::new(),
            retrieved: Vec::new(),
            captions: Vec::new(),
            shown: PROBED.map(values).into(),
            scenes,
        })
    }

    /// The sentences of all labels: what retention holds pictures to.
    pub fn sentences(&self) -> &[String] {
        &self.sentences
    }

    /// The pairs.
    pub fn pairs(&self) -> &[CaptionPair] {
        &self.pairs
    }

    /// Pictures that an encoder looks at.
    pub fn pictures(&self) -> usize {
        let examples = match &self.classes {
            Classes::Sentences(_) => 0,
            Classes::Means(images, ..) => images.len(),
        };
        let asked = 2 * self.pairs.len() + self.labelled.len() + self.retrieved.len();
        asked + self.scenes.len() + examples
    }

    /// Asks an encoder; `tick` hears how many pictures it has looked at and may stop by returning false.
    ///
    /// # Errors
    /// `Stopped` after `tick` said so.
    pub fn ask(
        &self,
        tower: &ImageTower,
        device: &Device,
        tick: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<EncoderAnswer>, EngineError> {
        let pairs: Vec<&RgbImage> = self.pairs.iter().flat_map(|p| &p.images).collect();
        let pairs = self.look(tower, &pairs, device, tick)?;
        let mut answers = self.told_apart(&pairs);
        let pictures: Vec<&RgbImage> = self.labelled.iter().map(|l| &l.image).collect();
        let pictures = self.look(tower, &pictures, device, tick)?;
        answers.extend(match &self.classes {
            Classes::Sentences(classes) => {
                self.classified(Kind::ZeroShot, &pictures.embeds, classes)
            }
            Classes::Means(images, labels, count) => {
                let images: Vec<&RgbImage> = images.iter().collect();
                let examples = self.look(tower, &images, device, tick)?;
                let classes = means(&examples.embeds, labels, *count);
                self.classified(Kind::ClassMeans, &pictures.embeds, &classes)
            }
        });
        let pictures: Vec<&RgbImage> = self.retrieved.iter().collect();
        let pictures = self.look(tower, &pictures, device, tick)?;
        answers.extend(found(&pictures.embeds, &self.captions));
        let scenes: Vec<&RgbImage> = self.scenes.iter().collect();
        let scenes = self.look(tower, &scenes, device, tick)?;
        answers.extend(self.probed(Kind::Probe, &scenes.embeds, &pairs.embeds));
        answers.extend(self.probed(Kind::ProbeFeatures, &scenes.pooled, &pairs.pooled));
        Ok(answers)
    }

    fn look(
        &self,
        tower: &ImageTower,
        pictures: &[&RgbImage],
        device: &Device,
        tick: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Seen, EngineError> {
        let mut seen = Seen::default();
        for chunk in pictures.chunks(CHUNK) {
            let chunk: Vec<RgbImage> = chunk.iter().map(|picture| (*picture).clone()).collect();
            let features = EncoderFeatures::of(tower, pixels(&chunk, self.side, device));
            seen.embeds
                .extend(matrix(features.embeds).into_iter().map(unit));
            seen.pooled.extend(matrix(features.pooled));
            if !tick(chunk.len()) {
                return Err(EngineError::Stopped);
            }
        }
        Ok(seen)
    }

    /// Pairs by their captions, the right way and crosswise.
    fn told_apart(&self, seen: &Seen) -> Vec<EncoderAnswer> {
        let pictures = seen.embeds.chunks_exact(2);
        let all = self.pairs.iter().zip(&self.statements).zip(pictures);
        all.flat_map(|((pair, [first, second]), pictures)| {
            let row = |text: &[f64]| [dot(text, &pictures[0]), dot(text, &pictures[1])];
            let straight = [row(first), row(second)];
            let crossed = straight.map(|[own, other]| [other, own]);
            [(Kind::Captions, straight), (Kind::Crossed, crossed)].map(|(kind, similarity)| {
                of_pair(kind, pair, captions_find_their_images(similarity))
            })
        })
        .collect()
    }

    /// Pairs by directions that were fitted on scenes. Left out are pairs whose values both pictures show (of another
    /// thing), which nothing that names no thing could tell apart, and values without a direction.
    fn probed(&self, kind: Kind, scenes: &[Vec<f64>], pictures: &[Vec<f64>]) -> Vec<EncoderAnswer> {
        let mut answers = Vec::new();
        for (attribute, shown) in PROBED.into_iter().zip(&self.shown) {
            let directions = directions(scenes, shown);
            let pairs = self.pairs.iter().zip(pictures.chunks_exact(2));
            for (pair, pictures) in pairs.filter(|(pair, _)| pair.pattern == attribute) {
                let ([a, b], [first, second]) = (&pair.values, &pair.seen);
                let found = (directions.get(a), directions.get(b));
                if let (Some(a_is), Some(b_is), false, false) =
                    (found.0, found.1, second.contains(a), first.contains(b))
                {
                    let row = |value: &[f64]| [dot(value, &pictures[0]), dot(value, &pictures[1])];
                    let right = captions_find_their_images([row(a_is), row(b_is)]);
                    answers.push(of_pair(kind, pair, right));
                }
            }
        }
        answers
    }

    fn classified(
        &self,
        kind: Kind,
        pictures: &[Vec<f64>],
        classes: &[Vec<f64>],
    ) -> Vec<EncoderAnswer> {
        let all = self.labelled.iter().zip(pictures).enumerate();
        all.map(|(number, (labelled, picture))| EncoderAnswer {
            kind,
            part: String::new(),
            id: number.to_string(),
            cluster: labelled.source.clone(),
            right: nearest(picture, classes) == labelled.label,
        })
        .collect()
    }
}

/// Rows of features.
#[derive(Default)]
struct Seen {
    /// Of unit length.
    embeds: Vec<Vec<f64>>,
    pooled: Vec<Vec<f64>>,
}

fn of_pair(kind: Kind, pair: &CaptionPair, right: bool) -> EncoderAnswer {
    EncoderAnswer {
        kind,
        part: pair.pattern.name().to_owned(),
        id: pair.id.clone(),
        cluster: pair.id.clone(),
        right,
    }
}

/// The mean direction of each class; zero for a class without examples, which nothing is then taken for.
fn means(rows: &[Vec<f64>], labels: &[usize], classes: usize) -> Vec<Vec<f64>> {
    let width = rows.first().map_or(0, Vec::len);
    let mut sums = vec![vec![0.0; width]; classes];
    for (row, label) in rows.iter().zip(labels) {
        sums[*label]
            .iter_mut()
            .zip(row)
            .for_each(|(sum, x)| *sum += x);
    }
    sums.into_iter().map(unit).collect()
}

/// Of some rows the one most like `row`, the first of equals.
fn nearest(row: &[f64], others: &[Vec<f64>]) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (at, other) in others.iter().enumerate() {
        let similarity = dot(row, other);
        if similarity > best.1 {
            best = (at, similarity);
        }
    }
    best.0
}

/// Whether each picture finds its caption among all, and each caption its picture.
fn found(pictures: &[Vec<f64>], captions: &[Vec<f64>]) -> Vec<EncoderAnswer> {
    let ways = [
        ("text of a picture", pictures, captions),
        ("picture of a text", captions, pictures),
    ];
    let answers = ways.into_iter().flat_map(|(part, asked, among)| {
        asked
            .iter()
            .enumerate()
            .map(move |(number, row)| EncoderAnswer {
                kind: Kind::Retrieval,
                part: part.to_owned(),
                id: format!("{part} {number}"),
                cluster: number.to_string(),
                right: nearest(row, among) == number,
            })
    });
    answers.collect()
}

/// Concepts whose names the text tower has read.
fn known(world: &World) -> Vec<usize> {
    let concepts = 0..world.corpus().concepts().len();
    concepts
        .filter(|concept| world.split().part(*concept) == Part::Train)
        .collect()
}

/// Scenes of such concepts, of drawings of a role.
fn feed(
    world: &World,
    role: Role,
    scenes: SceneConfig,
    purpose: &'static str,
    side: u32,
) -> Result<SceneFeed, EngineError> {
    let (corpus, split) = (world.corpus(), world.split());
    let of_known = |drawing: usize| split.part(corpus.drawings()[drawing].concept) == Part::Train;
    let drawings: Vec<usize> = split.drawings(role, of_known);
    Ok(world.feed(Pool::new(corpus, &drawings), scenes, purpose, SEED, side)?)
}

/// Pictures of one thing as it is drawn, upright.
fn labelled(
    world: &World,
    role: Role,
    concepts: &[usize],
    count: usize,
    side: u32,
) -> Result<Vec<Labelled>, EngineError> {
    let single = SceneConfig {
        single: 1.0,
        turned: 0.0,
        tinted: 0.0,
        ..SceneConfig::default()
    };
    let feed = feed(world, role, single, "encoder zero-shot", side)?;
    let mut found = Vec::with_capacity(count);
    for index in 0..PATIENCE * count as u64 {
        if found.len() == count {
            break;
        }
        let pair = feed.pair(index, false)?;
        if let ([group], Some(object)) = (pair.facts.groups.as_slice(), pair.scene.objects.first())
            && let Some(label) = concepts.iter().position(|c| *c == group.concept)
        {
            found.push(Labelled {
                image: pair.image,
                label,
                source: object.drawing.clone(),
            });
        }
    }
    enough(found, count, "pictures of one thing")
}

/// Scenes and captions that name what is there, no caption twice.
fn retrieval(
    world: &World,
    role: Role,
    count: usize,
    side: u32,
) -> Result<Vec<(RgbImage, String)>, EngineError> {
    let feed = feed(
        world,
        role,
        SceneConfig::default(),
        "encoder retrieval",
        side,
    )?;
    let captioner = world.captioner();
    let mut named = BTreeSet::new();
    let mut found = Vec::with_capacity(count);
    for index in 0..PATIENCE * count as u64 {
        if found.len() == count {
            break;
        }
        let pair = feed.pair(index, false)?;
        if named.insert(concepts(&pair.facts)) {
            let caption = format!("a photo of {}", captioner.category_list(&pair.facts));
            found.push((pair.image, caption));
        }
    }
    enough(found, count, "scenes of different things")
}

fn concepts(facts: &Facts) -> BTreeSet<usize> {
    facts.groups.iter().map(|group| group.concept).collect()
}

fn enough<T>(found: Vec<T>, wanted: usize, what: &str) -> Result<Vec<T>, EngineError> {
    if found.len() == wanted {
        return Ok(found);
    }
    let error = DataError::Empty {
        what: format!("{wanted} {what}"),
        hint: format!("the split gave only {}; ask for fewer", found.len()),
    };
    Err(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(pattern: Attribute, values: [&str; 2], seen: [&[&str]; 2]) -> CaptionPair {
        CaptionPair {
            id: values.concat(),
            pattern,
            images: [RgbImage::new(1, 1), RgbImage::new(1, 1)],
            captions: values.map(str::to_owned),
            values: values.map(str::to_owned),
            seen: seen.map(|values| values.iter().map(|v| (*v).to_owned()).collect()),
            provenance: Vec::new(),
        }
    }

    fn exam(pairs: Vec<CaptionPair>, statements: Vec<[Vec<f64>; 2]>) -> EncoderExam {
        EncoderExam {
            side: 1,
            pairs,
            statements,
            labelled: Vec::new(),
            classes: Classes::Sentences(Vec::new()),
            sentences: Vec::new(),
            retrieved: Vec::new(),
            captions: Vec::new(),
            scenes: Vec::new(),
            shown: vec![Vec::new(); PROBED.len()],
        }
    }

    fn right(answers: &[EncoderAnswer], kind: Kind) -> Vec<bool> {
        let of = answers.iter().filter(|answer| answer.kind == kind);
        of.map(|answer| answer.right).collect()
    }

    /// Pictures (1, 0) and (0, 1). Captions along the axes belong to them; exchanged, they are crossed; captions that both
    /// prefer the first picture are neither, and so are those that prefer none.
    #[test]
    fn pairs_by_hand() {
        let x = || vec![1.0, 0.0];
        let y = || vec![0.0, 1.0];
        let statements = vec![
            [x(), y()],
            [y(), x()],
            [x(), vec![0.9, 0.8]],
            [vec![0.5, 0.5], y()],
        ];
        let colour = || pair(Attribute::Colour, ["red", "blue"], [&["red"], &["blue"]]);
        let exam = exam(vec![colour(), colour(), colour(), colour()], statements);
        let seen = Seen {
            embeds: vec![x(), y(), x(), y(), x(), y(), x(), y()],
            pooled: Vec::new(),
        };
        let answers = exam.told_apart(&seen);
        assert_eq!(right(&answers, Kind::Captions), [true, false, false, false]);
        assert_eq!(right(&answers, Kind::Crossed), [false, true, false, false]);
    }

    /// Red scenes lie at x = 1, blue ones at x = −1.
    #[test]
    fn probes_tell_what_the_scenes_taught_and_leave_out_what_they_cannot() {
        let pairs = vec![
            pair(Attribute::Colour, ["red", "blue"], [&["red"], &["blue"]]),
            pair(Attribute::Colour, ["blue", "red"], [&["blue"], &["red"]]),
            // Both pictures show something red.
            pair(
                Attribute::Colour,
                ["red", "blue"],
                [&["red"], &["blue", "red"]],
            ),
            // Never shown in training.
            pair(Attribute::Colour, ["red", "pink"], [&["red"], &["pink"]]),
        ];
        let mut exam = exam(pairs, Vec::new());
        let colours = ["red", "blue"].map(|v| BTreeSet::from([v.to_owned()]));
        exam.shown = vec![vec![BTreeSet::new(); 20]; PROBED.len()];
        exam.shown[2] = colours.iter().cycle().take(20).cloned().collect();
        let sides = |a: f64, b: f64, times: usize| -> Vec<Vec<f64>> {
            (0..2 * times)
                .map(|i| vec![if i.is_multiple_of(2) { a } else { b }])
                .collect()
        };
        let scenes = sides(1.0, -1.0, 10);
        let pictures = sides(0.3, -0.2, 4);
        let answers = exam.probed(Kind::Probe, &scenes, &pictures);
        assert_eq!(right(&answers, Kind::Probe), [true, false]);
    }

    #[test]
    fn class_means_by_hand() {
        let rows = [vec![1.0, 0.0], vec![0.0, 1.0], vec![0.0, 3.0]];
        let found = means(&rows, &[2, 0, 0], 3);
        assert_eq!(found, [vec![0.0, 1.0], vec![0.0, 0.0], vec![1.0, 0.0]]);
        assert_eq!(nearest(&[0.2, 0.1], &found), 2);
    }

    #[test]
    fn retrieval_by_hand() {
        let captions = [vec![1.0, 0.0], vec![0.0, 1.0]];
        // Both pictures are most like the first caption; it is most like the first picture, the second most like the second.
        let pictures = [vec![0.9, 0.1], vec![0.6, 0.4]];
        let answers = found(&pictures, &captions);
        assert_eq!(right(&answers, Kind::Retrieval), [true, false, true, true]);
    }
}
