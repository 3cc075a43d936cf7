//! The study on photographs: an image folder to learn from and one to ask about.
//!
//! Photographs come without attributes, so these are made: a photograph is turned, tinted, or put once or several times
//! before a coloured ground. Texts about it the stand-in encoder has never read; pairs are told apart by probes alone, and
//! labels by the mean of each class.

use std::collections::BTreeSet;

use burn::tensor::Device;
use deem_data::benchmark::{ImageFolder, LabelledPicture};
use deem_data::image::{ImageLimits, read_image};
use deem_data::world::benchmark::CaptionPair;
use deem_data::world::scene::wording::NUMBERS;
use deem_data::world::scene::{Attribute, Background, Orientation, Position, Tint};
use deem_data::{DataError, Dice};
use deem_engine::EngineError;
use deem_engine::pictures::{from_tensor, to_tensor};
use image::{Rgb, RgbImage, imageops};

use super::config::{Photographs, Sizes};

/// What pairs of photographs differ in.
const PATTERNS: [Attribute; 5] = [
    Attribute::Orientation,
    Attribute::Colour,
    Attribute::Quantity,
    Attribute::Position,
    Attribute::Background,
];
/// Quarters of the ground, row by row.
const QUARTERS: [Position; 4] = [
    Position::TopLeft,
    Position::TopRight,
    Position::BottomLeft,
    Position::BottomRight,
];
/// Seed of all views.
const SEED: u64 = 7;

/// How a photograph is shown.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    turn: Orientation,
    tint: Tint,
    background: Background,
    /// The quarters that it is put in; none: it fills the picture.
    quarters: Vec<usize>,
}

impl View {
    fn random(dice: &mut Dice) -> Self {
        let coloured = dice.chance(0.5);
        let placed = dice.chance(0.5);
        let mut view = Self {
            turn: any(Orientation::ALL, dice),
            tint: if coloured {
                any(Tint::COLOURS, dice)
            } else {
                Tint::Natural
            },
            background: any(Background::ALL, dice),
            quarters: Vec::new(),
        };
        if placed {
            let count = 1 + dice.below(4);
            view.put(count, dice);
        }
        view
    }

    /// Puts it in so many quarters, at random.
    fn put(&mut self, count: usize, dice: &mut Dice) {
        let mut quarters = [0, 1, 2, 3];
        dice.shuffle(&mut quarters);
        self.quarters = quarters[..count].to_vec();
    }

    /// The value of an attribute that it shows.
    pub(super) fn value(&self, attribute: Attribute) -> Option<&'static str> {
        match attribute {
            Attribute::Orientation => Some(self.turn.words()),
            Attribute::Colour => (self.tint != Tint::Natural).then(|| self.tint.words()),
            Attribute::Quantity => NUMBERS.get(self.quarters.len().max(1)).copied(),
            Attribute::Position => match self.quarters.as_slice() {
                [one] => Some(QUARTERS[*one].words()),
                _ => None,
            },
            Attribute::Background if !self.quarters.is_empty() => Some(self.background.words()),
            _ => None,
        }
    }

    /// Two views that differ in one attribute.
    fn pair(attribute: Attribute, dice: &mut Dice) -> [Self; 2] {
        let mut view = Self::random(dice);
        if attribute == Attribute::Colour {
            view.tint = any(Tint::COLOURS, dice);
        }
        match attribute {
            Attribute::Quantity => view.put(2 + dice.below(3), dice),
            Attribute::Position => view.put(1, dice),
            Attribute::Background if view.quarters.is_empty() => view.put(1 + dice.below(4), dice),
            _ => {}
        }
        let mut other = view.clone();
        match attribute {
            Attribute::Orientation => other.turn = another(Orientation::ALL, view.turn, dice),
            Attribute::Colour => other.tint = another(Tint::COLOURS, view.tint, dice),
            Attribute::Quantity => {
                other.quarters.pop();
            }
            Attribute::Position => {
                other.quarters = vec![another(&[0, 1, 2, 3], view.quarters[0], dice)];
            }
            _ => other.background = another(Background::ALL, view.background, dice),
        }
        [view, other]
    }

    /// A photograph shown so, `side` pixels wide and high.
    fn show(&self, picture: &RgbImage, side: u32) -> Result<RgbImage, EngineError> {
        let whole = self.quarters.is_empty();
        let own = if whole { side } else { side / 2 };
        let device = Device::flex();
        let square = to_tensor(std::slice::from_ref(picture), own as usize, &device)?;
        let square = from_tensor(square).pop().unwrap_or_default();
        let mut square = match self.turn {
            Orientation::Upright => square,
            Orientation::TurnedLeft => imageops::rotate270(&square),
            Orientation::UpsideDown => imageops::rotate180(&square),
            Orientation::TurnedRight => imageops::rotate90(&square),
        };
        if let Some(tint) = self.tint.rgb() {
            square
                .pixels_mut()
                .for_each(|pixel| *pixel = tinted(*pixel, tint));
        }
        if whole {
            return Ok(square);
        }
        let mut ground = RgbImage::from_pixel(side, side, Rgb(self.background.rgb()));
        for quarter in &self.quarters {
            let (column, row) = (quarter % 2, quarter / 2);
            let at = |cell: usize| cell as i64 * i64::from(side - own);
            imageops::replace(&mut ground, &square, at(column), at(row));
        }
        Ok(ground)
    }
}

/// Two fifths of the pixel and three fifths of the colour as bright as the pixel.
fn tinted(pixel: Rgb<u8>, colour: [u8; 3]) -> Rgb<u8> {
    let [r, g, b] = pixel.0.map(u32::from);
    let bright = (299 * r + 587 * g + 114 * b) / 1000;
    let mixed = |own: u32, colour: u8| ((2 * own + 3 * bright * u32::from(colour) / 255) / 5) as u8;
    Rgb([
        mixed(r, colour[0]),
        mixed(g, colour[1]),
        mixed(b, colour[2]),
    ])
}

fn any<T: Copy>(all: &[T], dice: &mut Dice) -> T {
    all[dice.below(all.len())]
}

fn another<T: Copy + PartialEq>(all: &[T], this: T, dice: &mut Dice) -> T {
    let others: Vec<T> = all.iter().copied().filter(|other| *other != this).collect();
    any(&others, dice)
}

/// Pictures for an exam.
pub(super) struct Shown {
    pub pairs: Vec<CaptionPair>,
    /// Pictures to be classified: name, picture, label.
    pub labelled: Vec<(String, RgbImage, usize)>,
    /// Pictures whose mean stands for their class: picture, label.
    pub examples: Vec<(RgbImage, usize)>,
    pub classes: usize,
    /// Views of training photographs.
    pub scenes: Vec<(RgbImage, View)>,
}

/// What is asked about photographs; every second one of the folder `test`, the others with `validation`.
///
/// # Errors
/// `Data` naming a folder or picture that cannot be read, or a class that only one of them has; `Stopped`.
pub(super) fn shown(
    photographs: &Photographs,
    sizes: Sizes,
    side: u32,
    validation: bool,
    interrupted: &dyn Fn() -> bool,
) -> Result<Shown, EngineError> {
    let train = ImageFolder::read(&photographs.train, None)?;
    let test = ImageFolder::read(&photographs.test, None)?;
    let label = |picture: &LabelledPicture| -> Result<usize, EngineError> {
        let name = &test.labels[picture.label];
        let found = train.labels.iter().position(|own| own == name);
        found.ok_or_else(|| {
            EngineError::Config(format!(
                "photographs.test: {}: expected one of the classes in photographs.train, found {name:?}",
                picture.path.display()
            ))
        })
    };
    let load = |picture: &LabelledPicture| -> Result<RgbImage, EngineError> {
        if interrupted() {
            return Err(EngineError::Stopped);
        }
        Ok(read_image(&picture.path, ImageLimits::default())?)
    };
    let asked: Vec<&LabelledPicture> = test
        .pictures
        .iter()
        .skip(usize::from(validation))
        .step_by(2)
        .collect();
    if asked.is_empty() {
        let error = DataError::Empty {
            what: photographs.test.display().to_string(),
            hint: "expected at least two pictures in folders of classes".into(),
        };
        return Err(error.into());
    }
    let mut pairs = Vec::with_capacity(sizes.pairs);
    for number in 0..sizes.pairs {
        let pattern = PATTERNS[number % PATTERNS.len()];
        let mut dice = Dice::new(SEED, "photograph pair", number as u64);
        let picture = load(asked[dice.below(asked.len())])?;
        let views = View::pair(pattern, &mut dice);
        let [first, second] = [
            views[0].show(&picture, side)?,
            views[1].show(&picture, side)?,
        ];
        let values =
            [0, 1].map(|at: usize| views[at].value(pattern).unwrap_or_default().to_owned());
        pairs.push(CaptionPair {
            id: format!("pair {}", number + 1),
            pattern,
            images: [first, second],
            captions: Default::default(),
            seen: values.clone().map(|value| BTreeSet::from([value])),
            values,
            provenance: Vec::new(),
        });
    }
    let labelled = spread(&asked, sizes.zero_shot)
        .map(|picture| Ok((picture.name.clone(), load(picture)?, label(picture)?)));
    let labelled = labelled.collect::<Result<_, EngineError>>()?;
    let learned: Vec<&LabelledPicture> = train.pictures.iter().collect();
    let examples = spread(&learned, sizes.probe);
    let examples = examples.map(|picture| Ok((load(picture)?, picture.label)));
    let examples = examples.collect::<Result<_, EngineError>>()?;
    let scenes = (0..sizes.probe as u64).map(|number| {
        let mut dice = Dice::new(SEED, "photograph probe", number);
        let picture = load(learned[dice.below(learned.len())])?;
        let view = View::random(&mut dice);
        Ok((view.show(&picture, side)?, view))
    });
    Ok(Shown {
        pairs,
        labelled,
        examples,
        classes: train.labels.len(),
        scenes: scenes.collect::<Result<_, EngineError>>()?,
    })
}

/// At most so many, evenly spread.
fn spread<'a, 'p>(
    all: &'a [&'p LabelledPicture],
    most: usize,
) -> impl Iterator<Item = &'p LabelledPicture> + use<'a, 'p> {
    let count = most.min(all.len());
    (0..count).map(move |at| all[at * all.len() / count])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_by_hand() {
        // White above black.
        let picture = RgbImage::from_fn(4, 4, |_, y| Rgb([if y < 2 { 255 } else { 0 }; 3]));
        let view = View {
            turn: Orientation::UpsideDown,
            tint: Tint::Natural,
            background: Background::Gray,
            quarters: vec![1],
        };
        let shown = view.show(&picture, 8).unwrap();
        let gray = Rgb(Background::Gray.rgb());
        assert_eq!(shown.get_pixel(0, 0), &gray);
        assert_eq!(shown.get_pixel(4, 4), &gray);
        assert_eq!(
            (shown.get_pixel(5, 0), shown.get_pixel(5, 3)),
            (&Rgb([0; 3]), &Rgb([255; 3]))
        );
        assert_eq!(view.value(Attribute::Position), Some("top right"));
        assert_eq!(view.value(Attribute::Quantity), Some("one"));
        assert_eq!(view.value(Attribute::Colour), None);
        // Brightness 100: two fifths of it, three fifths of half the colour's share.
        assert_eq!(tinted(Rgb([100; 3]), [255, 0, 51]), Rgb([100, 40, 52]));
    }

    #[test]
    fn views_of_a_pair_differ_in_one_attribute() {
        for pattern in PATTERNS {
            for index in 0..40 {
                let [a, b] = View::pair(pattern, &mut Dice::new(1, "test", index));
                let differ = |attribute| a.value(attribute) != b.value(attribute);
                assert!(differ(pattern), "{pattern:?}: {a:?} {b:?}");
                assert!(a.value(pattern).is_some() && b.value(pattern).is_some());
                let others = PATTERNS.into_iter().filter(|other| *other != pattern);
                // Of several copies, one left over has a place.
                let others =
                    others.filter(|o| pattern != Attribute::Quantity || *o != Attribute::Position);
                assert!(
                    others.into_iter().all(|other| !differ(other)),
                    "{a:?} {b:?}"
                );
            }
        }
    }
}
