//! MMVP pairs: two scenes that differ in one attribute only. Of many candidates those are kept which an
//! encoder embeds most alike, in equal numbers for seven visual patterns.

use std::sync::Arc;

use image::RgbImage;

use super::{Builder, Embedder, check_rows, drawings};
use crate::DataError;
use crate::benchmark::{Item, Picture};
use crate::dice::Dice;
use crate::world::scene::other as another;
use crate::world::scene::{
    Arrangement, Attribute, Background, Draft, Facts, Orientation, Scene, SceneConfig,
    SceneSampler, Tint,
};

/// The patterns.
pub(super) const PATTERNS: [Attribute; 7] = [
    Attribute::Orientation,
    Attribute::Quantity,
    Attribute::Colour,
    Attribute::Background,
    Attribute::Position,
    Attribute::Structure,
    Attribute::Presence,
];

/// Two scenes and the values that tell them apart.
pub(super) struct Pair {
    pub(super) scenes: [Scene; 2],
    question: String,
    values: [String; 2],
    /// The group that changed.
    pub(super) group: usize,
}

pub(super) fn pairs(builder: &Builder<'_>, embedder: Embedder<'_>) -> Result<Vec<Item>, DataError> {
    let each = builder.config.mmvp_pairs / PATTERNS.len();
    let mut items = Vec::new();
    for (number, pattern) in PATTERNS.iter().enumerate() {
        // The remainder goes to the first patterns.
        let each = each + usize::from(number < builder.config.mmvp_pairs % PATTERNS.len());
        let mut candidates =
            candidates(builder, *pattern, each * builder.config.candidates.max(1))?;
        let alike = similarities(builder, embedder, &candidates)?;
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.sort_by(|a, b| alike[*b].total_cmp(&alike[*a]));
        order.truncate(each);
        // Back to the order of generation, so that the list is not sorted by difficulty.
        order.sort_unstable();
        let mut keep = order.into_iter().peekable();
        let mut index = 0;
        candidates.retain(|_| {
            let kept = keep.next_if_eq(&index).is_some();
            index += 1;
            kept
        });
        for pair in candidates {
            let first = items.len() + 1;
            let swapped = builder.dice("mmvp options", first as u64).chance(0.5);
            items.extend(questions(builder, *pattern, pair, first, swapped)?);
        }
    }
    Ok(items)
}

pub(super) fn candidates(
    builder: &Builder<'_>,
    pattern: Attribute,
    wanted: usize,
) -> Result<Vec<Pair>, DataError> {
    let scenes = SceneConfig {
        single: 0.2,
        tinted: 0.4,
        turned: 0.4,
        ..builder.world.design().scenes.clone()
    };
    let sampler = builder.asked(scenes)?;
    let mut found = Vec::with_capacity(wanted);
    // Not every scene has every attribute; the bound only stops an impossible request.
    for index in 0..200 * wanted as u64 {
        if found.len() == wanted {
            break;
        }
        builder.go_on()?;
        let mut dice = builder.dice(&format!("mmvp {}", pattern.name()), index);
        if let Some(pair) = pair(builder, &sampler, pattern, &mut dice)? {
            found.push(pair);
        }
    }
    if found.len() < wanted {
        return Err(DataError::Empty {
            what: format!("MMVP pattern {}", pattern.name()),
            hint: format!(
                "only {} of {wanted} candidate pairs could be made from this split",
                found.len()
            ),
        });
    }
    Ok(found)
}

fn pair(
    builder: &Builder<'_>,
    sampler: &SceneSampler,
    pattern: Attribute,
    dice: &mut Dice,
) -> Result<Option<Pair>, DataError> {
    let draft = Draft {
        arrangement: arrangement(pattern, dice),
        ..Draft::default()
    };
    let scene = sampler.sample_like(&draft, dice);
    let facts = builder.facts(&scene)?;
    let Some((other, group)) = changed(builder, sampler, pattern, &scene, &facts, dice)? else {
        return Ok(None);
    };
    let other_facts = builder.facts(&other)?;
    let values = [
        value(pattern, &facts, group, true),
        value(pattern, &other_facts, group, false),
    ];
    let (Some(first), Some(second)) = (values[0].clone(), values[1].clone()) else {
        return Ok(None);
    };
    if first == second || !sampler.is_visible(&scene) || !sampler.is_visible(&other) {
        return Ok(None);
    }
    let question = builder
        .questioner()
        .open_text(pattern, &facts.groups[group]);
    Ok(Some(Pair {
        scenes: [scene, other],
        question,
        values: [first, second],
        group,
    }))
}

/// Arrangements in which an attribute can change alone.
fn arrangement(pattern: Attribute, dice: &mut Dice) -> Option<Arrangement> {
    use Arrangement::{Column, Corner, Diagonal, Grid, Row, Single};
    match pattern {
        Attribute::Orientation | Attribute::Colour => Some(dice.one([Single, Corner, Row, Column])),
        Attribute::Quantity => Some(dice.one([Row, Column, Diagonal, Grid])),
        Attribute::Position => Some(dice.one([Corner, Row, Column, Diagonal])),
        Attribute::Structure => Some(dice.one([Row, Column, Diagonal])),
        _ => None,
    }
}

/// The scene with one attribute of one group changed, and the group.
fn changed(
    builder: &Builder<'_>,
    sampler: &SceneSampler,
    pattern: Attribute,
    scene: &Scene,
    facts: &Facts,
    dice: &mut Dice,
) -> Result<Option<(Scene, usize)>, DataError> {
    let mut other = scene.clone();
    let group = dice.below(facts.groups.len());
    let members = &facts.groups[group].objects;
    match pattern {
        Attribute::Orientation => {
            let Some(now) = facts.groups[group].orientation else {
                return Ok(None);
            };
            let Some(turn) = another(Orientation::ALL, now, dice) else {
                return Ok(None);
            };
            members
                .iter()
                .for_each(|i| other.objects[*i].orientation = turn);
        }
        Attribute::Colour => {
            let now = facts.groups[group].tint;
            if now == Tint::Natural {
                return Ok(None);
            }
            let Some(tint) = another(Tint::COLOURS, now, dice) else {
                return Ok(None);
            };
            members.iter().for_each(|i| other.objects[*i].tint = tint);
        }
        Attribute::Background => {
            let Some(background) = another(Background::ALL, scene.background, dice) else {
                return Ok(None);
            };
            other.background = background;
        }
        Attribute::Quantity => {
            if members.len() < 2 {
                return Ok(None);
            }
            other.objects.remove(members[members.len() - 1]);
        }
        Attribute::Position => match facts.groups.as_slice() {
            [one] if one.count == 1 => {
                // To another quarter, mirrored about the centre of the picture.
                let [x, y] = other.objects[0].center;
                other.objects[0].center =
                    dice.one([[1.0 - x, y], [x, 1.0 - y], [1.0 - x, 1.0 - y]]);
            }
            [a, b] if a.count == 1 && b.count == 1 => {
                let (a, b) = (a.objects[0], b.objects[0]);
                (other.objects[a].center, other.objects[b].center) =
                    (scene.objects[b].center, scene.objects[a].center);
            }
            _ => return Ok(None),
        },
        Attribute::Structure => {
            let lines = [Arrangement::Row, Arrangement::Column, Arrangement::Diagonal];
            let Some(arrangement) = another(&lines, scene.arrangement, dice) else {
                return Ok(None);
            };
            other.arrangement = arrangement;
            let (centers, _) = crate::world::scene::slots(arrangement, scene.objects.len(), dice);
            other
                .objects
                .iter_mut()
                .zip(centers)
                .for_each(|(o, c)| o.center = c);
        }
        _ => {
            // Another concept in the same style takes the place.
            let corpus = builder.world.corpus();
            let style =
                corpus.drawings()[corpus.drawing(&scene.objects[members[0]].drawing)?].style;
            let pool = sampler.pool();
            let others: Vec<usize> = pool
                .concepts()
                .iter()
                .filter(|c| !facts.has(**c) && pool.weight(**c) > 0.0)
                .flat_map(|c| pool.drawings_of(*c))
                .copied()
                .filter(|d| corpus.drawings()[*d].style == style)
                .collect();
            let Some(drawing) = dice.pick(&others) else {
                return Ok(None);
            };
            members
                .iter()
                .for_each(|i| other.objects[*i].drawing = corpus.drawings()[*drawing].id.clone());
        }
    }
    Ok(Some((other, group)))
}

/// The attribute's value in one of the scenes; `first` says in which.
fn value(pattern: Attribute, facts: &Facts, group: usize, first: bool) -> Option<String> {
    let it = facts.groups.get(group)?;
    Some(match pattern {
        Attribute::Orientation => it.orientation?.words().to_owned(),
        Attribute::Quantity => crate::world::scene::wording::NUMBERS
            .get(it.count)?
            .to_string(),
        Attribute::Colour => it.tint.words().to_owned(),
        Attribute::Background => facts.background.words().to_owned(),
        Attribute::Position => it.position?.words().to_owned(),
        Attribute::Structure => facts.arrangement.words().to_owned(),
        // Asked about the concept of the first scene.
        _ => if first { "yes" } else { "no" }.to_owned(),
    })
}

fn similarities(
    builder: &Builder<'_>,
    embedder: Embedder<'_>,
    pairs: &[Pair],
) -> Result<Vec<f32>, DataError> {
    let mut alike = Vec::with_capacity(pairs.len());
    for chunk in pairs.chunks(32) {
        builder.go_on()?;
        let mut images: Vec<RgbImage> = Vec::with_capacity(2 * chunk.len());
        for pair in chunk {
            images.push(builder.render(&pair.scenes[0])?);
            images.push(builder.render(&pair.scenes[1])?);
        }
        let embeddings = embedder(&images);
        check_rows("embedder", &embeddings, images.len())?;
        alike.extend(embeddings.chunks_exact(2).map(|e| cosine(&e[0], &e[1])));
    }
    Ok(alike)
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12)
}

fn questions(
    builder: &Builder<'_>,
    pattern: Attribute,
    pair: Pair,
    first: usize,
    swapped: bool,
) -> Result<Vec<Item>, DataError> {
    let [a, b] = pair.values;
    let options = if swapped { [b, a] } else { [a, b] };
    let cluster = format!("pair {}", first.div_ceil(2));
    pair.scenes
        .iter()
        .enumerate()
        .map(|(which, scene)| {
            let right = (which == 1) != swapped;
            Ok(Item {
                question: pair.question.clone(),
                options: options.to_vec(),
                answers: vec![if right { "(b)" } else { "(a)" }.to_owned()],
                cluster: cluster.clone(),
                pattern: Some(pattern.name().to_owned()),
                provenance: drawings(scene),
                ..Item::new(
                    format!("mmvp/{}", first + which),
                    "pairs",
                    Picture::Memory {
                        id: format!("{}.png", first + which),
                        image: Arc::new(builder.render(scene)?),
                    },
                )
            })
        })
        .collect()
}
