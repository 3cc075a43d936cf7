//! What is true of a scene, in the terms that captions and questions use.

use super::spec::{Arrangement, Background, Orientation, Position, Scene, Tint};
use super::{Attribute, Pool};
use crate::DataError;
use crate::dice::Dice;
use crate::world::corpus::Corpus;

/// Objects that are alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Concept, an index into the corpus.
    pub concept: usize,
    /// Positions of its members in the scene's object list.
    pub objects: Vec<usize>,
    /// How many there are.
    pub count: usize,
    /// Colour laid over them.
    pub tint: Tint,
    /// Which way they are turned; `None` if "upside down" has no meaning for the concept.
    pub orientation: Option<Orientation>,
    /// Where they are, if that can be said of all of them.
    pub position: Option<Position>,
}

/// Everything that can be asked about a scene.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Groups, from left to right or top to bottom as placed.
    pub groups: Vec<Group>,
    /// The main thing: position of the group whose objects are largest, the first of several.
    pub main: usize,
    /// Colour behind the objects.
    pub background: Background,
    /// How the objects stand to each other.
    pub arrangement: Arrangement,
}

impl Facts {
    /// Facts of a scene.
    ///
    /// # Errors
    /// `Unknown` if a drawing is not in the corpus.
    pub fn new(scene: &Scene, corpus: &Corpus) -> Result<Self, DataError> {
        let mut groups: Vec<(usize, Group, Vec<Position>)> = Vec::new();
        for (index, object) in scene.objects.iter().enumerate() {
            let concept = corpus.drawings()[corpus.drawing(&object.drawing)?].concept;
            let position = Position::of(object.center);
            if let Some((_, group, positions)) =
                groups.iter_mut().find(|(id, ..)| *id == object.group)
            {
                group.objects.push(index);
                group.count += 1;
                positions.push(position);
            } else {
                let orientation = corpus.concepts()[concept]
                    .orientable
                    .then_some(object.orientation);
                let group = Group {
                    concept,
                    objects: vec![index],
                    count: 1,
                    tint: object.tint,
                    orientation,
                    position: None,
                };
                groups.push((object.group, group, vec![position]));
            }
        }
        let groups: Vec<Group> = groups
            .into_iter()
            .map(|(_, group, positions)| Group {
                position: Position::common(&positions),
                ..group
            })
            .collect();
        let size = |group: usize| scene.objects[groups[group].objects[0]].size;
        let largest = |best, group| {
            if size(group) > size(best) {
                group
            } else {
                best
            }
        };
        let main = (1..groups.len()).fold(0, largest);
        Ok(Self {
            groups,
            main,
            background: scene.background,
            arrangement: scene.arrangement,
        })
    }

    /// Number of objects.
    pub fn total(&self) -> usize {
        self.groups.iter().map(|g| g.count).sum()
    }

    /// Whether this concept is in the scene.
    pub fn has(&self, concept: usize) -> bool {
        self.groups.iter().any(|g| g.concept == concept)
    }

    /// The same facts with one attribute made wrong (a caption of them is false in that attribute only);
    /// `None` if the scene does not have the attribute. `Presence` exchanges a concept for one of `pool`.
    pub fn made_wrong(&self, attribute: Attribute, pool: &Pool, dice: &mut Dice) -> Option<Self> {
        let mut wrong = self.clone();
        let index = dice.below(self.groups.len());
        match attribute {
            Attribute::Presence | Attribute::MainObject => {
                let others: Vec<usize> = pool
                    .concepts()
                    .iter()
                    .copied()
                    .filter(|c| !self.has(*c))
                    .collect();
                wrong.groups.get_mut(index)?.concept = *dice.pick(&others)?;
            }
            Attribute::Quantity => {
                let others: Vec<usize> =
                    (1..=4).filter(|n| *n != self.groups[index].count).collect();
                wrong.groups[index].count = *dice.pick(&others)?;
            }
            Attribute::Colour => {
                let group = wrong
                    .groups
                    .iter_mut()
                    .filter(|g| g.tint != Tint::Natural)
                    .nth(0)?;
                group.tint = other(Tint::COLOURS, group.tint, dice)?;
            }
            Attribute::Position => {
                let group = wrong
                    .groups
                    .iter_mut()
                    .find(|g| g.position.is_some_and(|p| p != Position::Center))?;
                let here = group.position?;
                group.position = Some(far_position(here, dice)?);
            }
            Attribute::Orientation => {
                let group = wrong.groups.iter_mut().find(|g| g.orientation.is_some())?;
                group.orientation = Some(other(Orientation::ALL, group.orientation?, dice)?);
            }
            Attribute::Background => {
                wrong.background = other(Background::ALL, self.background, dice)?
            }
            Attribute::Structure => {
                const LINES: &[Arrangement] =
                    &[Arrangement::Row, Arrangement::Column, Arrangement::Diagonal];
                if !LINES.contains(&self.arrangement) {
                    return None;
                }
                wrong.arrangement = other(LINES, self.arrangement, dice)?;
            }
        }
        Some(wrong)
    }

    /// Whether things differ in an attribute, so that the value of one of them is found by its name only; `None` if it is
    /// not an attribute of single things.
    pub fn tells_apart(&self, attribute: Attribute) -> Option<bool> {
        let groups = self.groups.iter();
        match attribute {
            Attribute::Quantity => Some(differ(groups.map(|g| g.count))),
            Attribute::Colour => {
                let tints = groups.map(|g| g.tint);
                Some(differ(tints.filter(|tint| *tint != Tint::Natural)))
            }
            Attribute::Position => Some(differ(groups.filter_map(|g| g.position))),
            Attribute::Orientation => Some(differ(groups.filter_map(|g| g.orientation))),
            _ => None,
        }
    }

    /// The same without positions, which would give the arrangement away.
    #[must_use]
    pub fn unplaced(&self) -> Self {
        let mut facts = self.clone();
        facts.groups.iter_mut().for_each(|g| g.position = None);
        facts
    }
}

/// Whether values are not all the same.
fn differ<T: PartialEq>(mut values: impl Iterator<Item = T>) -> bool {
    let first = values.next();
    first.is_some_and(|first| values.any(|value| value != first))
}

/// One of `all` that is not `this`.
pub(crate) fn other<T: Copy + PartialEq>(all: &[T], this: T, dice: &mut Dice) -> Option<T> {
    let others: Vec<T> = all.iter().copied().filter(|v| *v != this).collect();
    dice.pick(&others).copied()
}

/// A position of the same kind (corner, edge) as `here`, and another one than it.
pub(super) fn far_position(here: Position, dice: &mut Dice) -> Option<Position> {
    let kind = |p: Position| p.cell().iter().filter(|c| **c == 1).count();
    let same: Vec<Position> = Position::ALL
        .iter()
        .copied()
        .filter(|p| *p != here && kind(*p) == kind(here))
        .collect();
    if same.is_empty() {
        other(Position::ALL, here, dice)
    } else {
        dice.pick(&same).copied()
    }
}
