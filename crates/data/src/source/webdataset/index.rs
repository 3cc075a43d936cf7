//! Where the samples of shards lie: sixteen bytes a sample, found by reading headers only.
//!
//! As in the Python package `webdataset`, members that follow one another and share their name up to the
//! first dot of its last part are one sample.

use std::collections::BTreeMap;
use std::iter::Peekable;

use super::tar::{Content, Damage, Member, Members};
use crate::DataError;
use crate::storage::{Blob, Reader};

const PICTURES: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
const TEXTS: [&str; 2] = ["txt", "caption"];
const RECORD: &str = "json";

/// The members of one sample that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// Where the first of its members starts.
    pub start: u64,
    /// What their names share.
    pub key: String,
    pub picture: Option<Member>,
    pub text: Option<Member>,
    pub record: Option<Member>,
}

/// What a sample must have besides a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    TextOrRecord,
    Record,
    Nothing,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    shard: u32,
    offset: u64,
}

/// Places of all samples of a list of shards.
pub(super) struct Index {
    shards: Vec<Blob>,
    places: Vec<Place>,
}

/// What was left out, by reason: how often, and where first.
#[derive(Debug, Default)]
pub(super) struct LeftOut(BTreeMap<&'static str, (u64, String)>);

impl LeftOut {
    fn note(&mut self, reason: &'static str, name: &str) {
        self.0
            .entry(reason)
            .or_insert_with(|| (0, name.to_owned()))
            .0 += 1;
    }

    fn told(&self) -> String {
        let reasons: Vec<String> = self
            .0
            .iter()
            .map(|(reason, (count, first))| format!("{count} with {reason} (first: {first:?})"))
            .collect();
        reasons.join(", ")
    }
}

impl Index {
    /// Reads the headers of all shards.
    ///
    /// # Errors
    /// `Io`; `Malformed` naming shard and byte for a damaged one, unless `skip_damaged`: then the samples
    /// before the damage are kept; `Empty`.
    pub fn build(shards: Vec<Blob>, needs: Needs, skip_damaged: bool) -> Result<Self, DataError> {
        let mut places = Vec::new();
        let mut left_out = LeftOut::default();
        for (number, shard) in shards.iter().enumerate() {
            let members = Members::from(shard.open()?, 0);
            let members = members.map_err(|e| DataError::io(shard.path(), e))?;
            for group in Groups::new(members, &mut left_out) {
                match group {
                    Ok(group) if group.is_complete(needs) => places.push(Place {
                        shard: number as u32,
                        offset: group.start,
                    }),
                    Ok(_) => {}
                    Err(damage) => {
                        let error = named(shard, damage);
                        if !skip_damaged {
                            return Err(error);
                        }
                        tracing::warn!(%error, "the rest of a shard is left out");
                    }
                }
            }
        }
        let told = left_out.told();
        if places.is_empty() {
            let first = shards
                .first()
                .map(|s| s.path().display().to_string())
                .unwrap_or_default();
            return Err(DataError::Empty {
                what: format!("{} shards from {first} on", shards.len()),
                hint: format!(
                    "expected pictures (.jpg .jpeg .png .webp) beside texts (.txt .caption .json) of the same \
                     name; left out: {}",
                    if told.is_empty() { "nothing" } else { &told }
                ),
            });
        }
        if !told.is_empty() {
            tracing::warn!(
                samples = places.len(),
                left_out = told,
                "members of shards left out"
            );
        }
        Ok(Self { shards, places })
    }

    pub fn len(&self) -> u64 {
        self.places.len() as u64
    }

    /// Shard, its members from the sample on, and the sample's members.
    ///
    /// # Errors
    /// `Io`, or `Malformed` if the shard has changed.
    pub fn get(&self, index: u64) -> Result<(&Blob, Members<Reader>, Group), DataError> {
        let place = self.places[(index % self.len()) as usize];
        let shard = &self.shards[place.shard as usize];
        let members = Members::from(shard.open()?, place.offset);
        let mut members = members.map_err(|e| DataError::io(shard.path(), e))?;
        let mut ignored = LeftOut::default();
        let group = Groups::new(&mut members, &mut ignored).next();
        match group {
            Some(Ok(group)) => Ok((shard, members, group)),
            Some(Err(damage)) => Err(named(shard, damage)),
            None => Err(DataError::malformed(
                shard.path().display().to_string(),
                format!("byte {}", place.offset),
                "a sample that was there when the run began",
                "the end of the archive",
            )),
        }
    }
}

fn named(shard: &Blob, damage: Damage) -> DataError {
    match damage {
        Damage::Io(cause) => DataError::io(shard.path(), cause),
        Damage::At {
            offset,
            expected,
            found,
        } => DataError::malformed(
            shard.path().display().to_string(),
            format!("byte {offset}"),
            expected,
            found,
        ),
    }
}

impl Group {
    fn is_complete(&self, needs: Needs) -> bool {
        let told = match needs {
            Needs::TextOrRecord => self.text.is_some() || self.record.is_some(),
            Needs::Record => self.record.is_some(),
            Needs::Nothing => true,
        };
        self.picture.is_some() && told
    }
}

/// Samples of a walk over members.
struct Groups<'a, M: Iterator<Item = Result<Member, Damage>>> {
    members: Peekable<M>,
    left_out: &'a mut LeftOut,
}

impl<'a, M: Iterator<Item = Result<Member, Damage>>> Groups<'a, M> {
    fn new(members: M, left_out: &'a mut LeftOut) -> Self {
        Self {
            members: members.peekable(),
            left_out,
        }
    }

    fn add(&mut self, group: &mut Group, ending: &str, member: Member) {
        let ending = ending.to_ascii_lowercase();
        let slot = if PICTURES.contains(&ending.as_str()) {
            &mut group.picture
        } else if TEXTS.contains(&ending.as_str()) {
            &mut group.text
        } else if ending == RECORD {
            &mut group.record
        } else {
            return;
        };
        if slot.is_some() {
            self.left_out
                .note("a second member of its kind in a sample", &member.name);
        } else {
            *slot = Some(member);
        }
    }
}

impl<M: Iterator<Item = Result<Member, Damage>>> Iterator for Groups<'_, M> {
    type Item = Result<Group, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut group: Option<Group> = None;
        loop {
            // What belongs to the next sample, or is damaged, stays for the next call.
            let goes_on = match (self.members.peek()?, &group) {
                (_, None) => true,
                (Err(_), Some(_)) => false,
                (Ok(member), Some(group)) => {
                    member.content != Content::File
                        || split(&member.name).is_none_or(|(key, _)| key == group.key)
                }
            };
            if !goes_on {
                return group.map(Ok);
            }
            let member = match self.members.next()? {
                Ok(member) => member,
                Err(damage) => return Some(Err(damage)),
            };
            if let Content::Refused(reason) = member.content {
                self.left_out.note(reason, &member.name);
            }
            if member.content == Content::File
                && let Some((key, ending)) = split(&member.name)
            {
                let (key, ending) = (key.to_owned(), ending.to_owned());
                let mut own = group.take().unwrap_or_else(|| Group {
                    start: member.start,
                    key,
                    ..Group::default()
                });
                self.add(&mut own, &ending, member);
                group = Some(own);
            }
            if self.members.peek().is_none() {
                return group.map(Ok);
            }
        }
    }
}

/// A name up to the first dot of its last part, and what follows the dot.
fn split(name: &str) -> Option<(&str, &str)> {
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = last + name[last..].find('.')?;
    (dot > last).then(|| (&name[..dot], &name[dot + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(names: &[&str]) -> (Vec<(String, bool, bool, bool)>, String) {
        let mut left_out = LeftOut::default();
        let members = names.iter().enumerate().map(|(i, name)| {
            Ok(Member {
                start: i as u64,
                name: (*name).into(),
                data: 0,
                size: 0,
                content: if name.starts_with("..") {
                    Content::Refused("a name")
                } else {
                    Content::File
                },
            })
        });
        let found = Groups::new(members, &mut left_out)
            .map(|g| g.unwrap())
            .map(|g| {
                (
                    g.key,
                    g.picture.is_some(),
                    g.text.is_some(),
                    g.record.is_some(),
                )
            })
            .collect();
        (found, left_out.told())
    }

    #[test]
    fn neighbours_with_one_name_are_a_sample() {
        let names = [
            "a/0.JPG",
            "a/0.json",
            "../x.jpg",
            "a/0.txt",
            "README",
            ".hidden.jpg",
            "a.b/1.seg.png",
            "a.b/1.png",
            "a.b/1.webp",
            "0.txt",
        ];
        let (found, told) = groups(&names);
        assert_eq!(
            found,
            [
                ("a/0".into(), true, true, true),
                ("a.b/1".into(), true, false, false),
                ("0".into(), false, true, false)
            ]
        );
        assert!(
            told.contains("1 with a name (first: \"../x.jpg\")"),
            "{told}"
        );
        assert!(told.contains("a.b/1.webp"), "{told}");
    }
}
