//! The true value of an attribute and a believable wrong one.

use super::facts::{Facts, Group, far_position, other};
use super::pool::Pool;
use super::question::Attribute;
use super::spec::{Arrangement, Background, Orientation, Position, Tint};
use super::wording::NUMBERS;
use crate::dice::Dice;

/// What is asked about, and the values to choose from.
pub(super) struct Values<'a> {
    /// The group asked about.
    pub group: &'a Group,
    /// Its true value.
    pub truth: &'static str,
    /// A value it does not have.
    pub wrong: &'static str,
}

/// Values of an attribute of `group`, or of another group if this one does not have it; `None` if none
/// has, and for presence and main object, which are asked about concepts.
pub(super) fn values<'a>(
    attribute: Attribute,
    facts: &'a Facts,
    group: &'a Group,
    dice: &mut Dice,
) -> Option<Values<'a>> {
    let having = |has: &dyn Fn(&Group) -> bool| {
        if has(group) {
            Some(group)
        } else {
            facts.groups.iter().find(|g| has(g))
        }
    };
    let (group, truth, wrong) = match attribute {
        Attribute::Presence | Attribute::MainObject => return None,
        Attribute::Quantity => {
            let count = group.count;
            let near: Vec<&str> = [count.checked_sub(1), Some(count + 1), Some(count + 2)]
                .into_iter()
                .flatten()
                .filter(|n| *n > 0)
                .filter_map(|n| NUMBERS.get(n).copied())
                .collect();
            (group, *NUMBERS.get(count)?, *dice.pick(&near)?)
        }
        Attribute::Colour => {
            let group = having(&|g| g.tint != Tint::Natural)?;
            (
                group,
                group.tint.words(),
                other(Tint::COLOURS, group.tint, dice)?.words(),
            )
        }
        Attribute::Position => {
            let central = |p| facts.total() == 1 && p == Position::Center;
            let group = having(&|g| g.position.is_some_and(|p| !central(p)))?;
            let here = group.position?;
            (group, here.words(), far_position(here, dice)?.words())
        }
        Attribute::Orientation => {
            let group = having(&|g| g.orientation.is_some())?;
            let truth = group.orientation?;
            (
                group,
                truth.words(),
                other(Orientation::ALL, truth, dice)?.words(),
            )
        }
        Attribute::Background => {
            let wrong = other(Background::ALL, facts.background, dice)?;
            (group, facts.background.words(), wrong.words())
        }
        Attribute::Structure => {
            const ALL: &[Arrangement] = &[
                Arrangement::Row,
                Arrangement::Column,
                Arrangement::Diagonal,
                Arrangement::Grid,
            ];
            if facts.total() < 2 || !ALL.contains(&facts.arrangement) {
                return None;
            }
            (
                group,
                facts.arrangement.words(),
                other(ALL, facts.arrangement, dice)?.words(),
            )
        }
    };
    Some(Values {
        group,
        truth,
        wrong,
    })
}

/// A concept that is not there: uniform, by popularity, or a usual companion of what is there.
pub(super) fn absent_concept(facts: &Facts, pool: &Pool, dice: &mut Dice) -> Option<usize> {
    let companions = if dice.chance(1.0 / 3.0) {
        facts
            .groups
            .iter()
            .flat_map(|g| pool.companions_of(g.concept))
            .filter(|c| !facts.has(*c))
            .collect()
    } else {
        Vec::new()
    };
    if let Some(concept) = dice.pick(&companions) {
        return Some(*concept);
    }
    let absent: Vec<usize> = pool
        .concepts()
        .iter()
        .copied()
        .filter(|c| !facts.has(*c))
        .collect();
    if dice.chance(0.5) {
        return dice.pick(&absent).copied();
    }
    let weights: Vec<f32> = absent.iter().map(|c| pool.weight(*c)).collect();
    dice.weighted(&weights).map(|i| absent[i])
}
