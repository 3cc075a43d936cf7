//! POPE by polling: as many absent as present objects, the absent ones drawn at random, by frequency, or by
//! how often they stand beside what is there.

use std::sync::Arc;

use super::{Builder, drawings};
use crate::DataError;
use crate::benchmark::{Item, POPE_SPLITS, Picture};
use crate::dice::Dice;
use crate::world::scene::{Facts, Pool, SceneConfig};

impl Builder<'_> {
    /// As many absent as present objects for each picture; the three parts share pictures and positive
    /// questions and differ in how the absent ones are chosen.
    pub(super) fn pope(&self) -> Result<Vec<Item>, DataError> {
        let scenes = SceneConfig {
            single: 0.0,
            objects: [0.0, 0.4, 0.35, 0.2, 0.05],
            groups: [0.0, 0.7, 0.3],
            ..self.world.design().scenes.clone()
        };
        let sampler = self.asked(scenes)?;
        let questioner = self.questioner();
        let mut items: Vec<Vec<Item>> = vec![Vec::new(); POPE_SPLITS.len()];
        let mut index = 0;
        while items[0].len() + 1 < self.config.pope_questions {
            self.go_on()?;
            let scene = sampler.sample(&mut self.dice("pope", index));
            let facts = self.facts(&scene)?;
            let room = (self.config.pope_questions - items[0].len()) / 2;
            let present: Vec<usize> = facts.groups.iter().map(|g| g.concept).take(room).collect();
            let picture = Picture::Memory {
                id: format!("pope_{index:04}.png"),
                image: Arc::new(self.render(&scene)?),
            };
            for (part, items) in POPE_SPLITS.into_iter().zip(&mut items) {
                let mut dice = self.dice(part, index);
                let absent = absent(part, &facts, sampler.pool(), present.len(), &mut dice);
                for concept in present.iter().chain(&absent) {
                    let question = questioner.presence_of(*concept, &facts);
                    items.push(Item {
                        question: question.text,
                        answers: vec![question.answer],
                        label: Some(self.world.corpus().concepts()[*concept].noun.clone()),
                        provenance: drawings(&scene),
                        ..Item::new(format!("{part}/{}", items.len() + 1), part, picture.clone())
                    });
                }
            }
            index += 1;
        }
        Ok(items.into_iter().flatten().collect())
    }
}

/// Absent concepts for POPE: uniformly drawn, the most frequent, or those that most often stand beside
/// what is there.
fn absent(part: &str, facts: &Facts, pool: &Pool, count: usize, dice: &mut Dice) -> Vec<usize> {
    let mut others: Vec<usize> = pool
        .concepts()
        .iter()
        .copied()
        .filter(|c| !facts.has(*c))
        .collect();
    dice.shuffle(&mut others);
    let together = |c: usize| {
        let beside = |a: usize, b: usize| pool.companions_of(a).contains(&b);
        facts
            .groups
            .iter()
            .filter(|g| beside(g.concept, c) || beside(c, g.concept))
            .count()
    };
    match part {
        // A stable sort keeps the shuffled order among equals.
        "popular" => others.sort_by(|a, b| pool.weight(*b).total_cmp(&pool.weight(*a))),
        "adversarial" => others.sort_by_key(|c| std::cmp::Reverse(together(*c))),
        _ => {}
    }
    if part == "popular" {
        // The published set draws among the most popular, too: not always the same two.
        others.truncate((2 * count).max(10));
        dice.shuffle(&mut others);
    }
    others.truncate(count);
    others
}
