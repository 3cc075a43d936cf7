//! OpenAI's messages as a conversation. What was said is sorted into turns here; pictures are read elsewhere.

use std::fmt;

use deem::{Dialogue, Exchange, Picture, Piece};
use deem_data::text::protocol::REGION_REQUEST;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::ApiError;
use crate::picture::{Region, Source};

/// A message.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Message {
    role: Role,
    #[serde(default)]
    content: Content,
    #[serde(default)]
    tool_calls: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    System,
    Developer,
    User,
    Assistant,
}

/// What a message says: a text, or texts and pictures.
#[derive(Clone, Debug, Default)]
struct Content(Vec<Part>);

/// A part of a message. Fields of other kinds of parts are absent.
#[derive(Clone, Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    image_url: Option<Address>,
    #[serde(default)]
    mask: Option<String>,
    #[serde(default, rename = "box")]
    bounds: Option<[f64; 4]>,
    #[serde(default)]
    polygon: Option<Vec<[f64; 2]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Text,
    ImageUrl,
}

/// `{"url": …}` as OpenAI has it, or the address alone.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "an object with a `url`")]
pub(crate) enum Address {
    Object { url: String },
    Plain(String),
}

impl Address {
    pub fn url(self) -> String {
        match self {
            Self::Object { url } | Self::Plain(url) => url,
        }
    }
}

/// The region beside a picture, if there is one; `place` names the picture's part of the request.
///
/// # Errors
/// If there are several.
pub(crate) fn region_beside(
    mask: Option<String>,
    bounds: Option<[f64; 4]>,
    polygon: Option<Vec<[f64; 2]>>,
    place: &str,
) -> Result<Option<Region>, ApiError> {
    let regions = [
        mask.map(Region::Mask),
        bounds.map(Region::Box),
        polygon.map(Region::Polygon),
    ];
    let mut regions = regions.into_iter().flatten();
    let region = regions.next();
    if regions.next().is_some() {
        let problem = "expected one of `mask`, `box` and `polygon`, found several";
        return Err(ApiError::field(place, problem));
    }
    Ok(region)
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a text or a list of parts")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
        Ok(Content(vec![Part {
            kind: Kind::Text,
            text: Some(text.to_owned()),
            image_url: None,
            mask: None,
            bounds: None,
            polygon: None,
        }]))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Content, E> {
        Ok(Content::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Content, A::Error> {
        let mut all = Vec::new();
        while let Some(part) = parts.next_element()? {
            all.push(part);
        }
        Ok(Content(all))
    }
}

/// A conversation whose pictures are still to be read.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    system: Vec<String>,
    turns: Vec<Turn>,
    /// The pictures, in the order of the messages.
    pub sources: Vec<Source>,
}

/// A turn; pictures are places in `sources`.
#[derive(Debug, Default)]
struct Turn {
    texts: Vec<String>,
    pictures: Vec<usize>,
    region: bool,
    answer: Option<Vec<Said>>,
}

#[derive(Debug)]
enum Said {
    Text(String),
    Picture(usize),
}

impl Draft {
    /// Sorts messages into turns.
    ///
    /// # Errors
    /// The message that cannot be understood, or stands where it cannot.
    pub fn of(messages: Vec<Message>) -> Result<Self, ApiError> {
        let mut draft = Self::default();
        for (index, message) in messages.into_iter().enumerate() {
            draft.add(message, &format!("messages[{index}]"))?;
        }
        match draft.turns.last() {
            None => Err(ApiError::field(
                "messages",
                "expected at least one message of the user",
            )),
            Some(turn) if turn.answer.is_some() => Err(ApiError::field(
                "messages",
                "expected the user's message as the last",
            )),
            Some(_) => Ok(draft),
        }
    }

    fn add(&mut self, message: Message, place: &str) -> Result<(), ApiError> {
        if message.tool_calls.is_some_and(|calls| !calls.is_empty()) {
            let place = format!("{place}.tool_calls");
            return Err(ApiError::field(place, "not supported by this server"));
        }
        let mut said = Vec::new();
        let mut region = false;
        for (index, part) in message.content.0.into_iter().enumerate() {
            let place = format!("{place}.content[{index}]");
            match (part.kind, part.text, part.image_url) {
                (Kind::Text, Some(text), _) => said.push(Said::Text(text)),
                (Kind::ImageUrl, _, Some(address)) => {
                    let source = Source {
                        url: address.url(),
                        region: region_beside(part.mask, part.bounds, part.polygon, &place)?,
                        param: place,
                    };
                    region |= source.region.is_some();
                    self.sources.push(source);
                    said.push(Said::Picture(self.sources.len() - 1));
                }
                (Kind::Text, None, _) => return Err(ApiError::field(place, "expected a `text`")),
                (Kind::ImageUrl, _, None) => {
                    return Err(ApiError::field(place, "expected an `image_url`"));
                }
            }
        }
        match message.role {
            Role::System | Role::Developer => self.instruct(said, place),
            Role::User => self.ask(said, region, place),
            Role::Assistant => self.answer(said, region, place),
        }
    }

    fn instruct(&mut self, said: Vec<Said>, place: &str) -> Result<(), ApiError> {
        if !self.turns.is_empty() {
            let problem =
                "expected instructions before everything else, found them after the user's message";
            return Err(ApiError::field(place, problem));
        }
        for said in said {
            match said {
                Said::Text(text) => self.system.push(text),
                Said::Picture(_) => {
                    return Err(ApiError::field(
                        place,
                        "expected instructions without pictures",
                    ));
                }
            }
        }
        Ok(())
    }

    /// A user who says several messages in a row says one.
    fn ask(&mut self, said: Vec<Said>, region: bool, place: &str) -> Result<(), ApiError> {
        let continued = self.turns.pop_if(|turn| turn.answer.is_none());
        let mut turn = continued.unwrap_or_default();
        turn.region |= region;
        for said in said {
            match said {
                Said::Text(text) => turn.texts.push(text),
                Said::Picture(index) => turn.pictures.push(index),
            }
        }
        let silent = turn.texts.iter().all(|text| text.trim().is_empty());
        if silent && turn.region {
            turn.texts = vec![REGION_REQUEST.to_owned()];
        } else if silent && turn.pictures.is_empty() {
            return Err(ApiError::field(
                format!("{place}.content"),
                "expected a text, found none",
            ));
        }
        self.turns.push(turn);
        Ok(())
    }

    fn answer(&mut self, said: Vec<Said>, region: bool, place: &str) -> Result<(), ApiError> {
        let Some(turn) = self.turns.last_mut() else {
            let problem = "expected a message of the user before the assistant's";
            return Err(ApiError::field(place, problem));
        };
        if region {
            return Err(ApiError::field(
                place,
                "expected regions in the user's pictures only",
            ));
        }
        turn.answer.get_or_insert_default().extend(said);
        Ok(())
    }

    /// Whether the last turn shows a picture.
    pub fn shows_picture(&self) -> bool {
        self.turns
            .last()
            .is_some_and(|turn| !turn.pictures.is_empty())
    }

    /// The conversation, with the pictures of `sources`.
    ///
    /// # Errors
    /// A turn that has pictures and no question.
    pub fn with(self, pictures: &[Picture]) -> Result<Dialogue, ApiError> {
        let mut turns = Vec::with_capacity(self.turns.len());
        for turn in self.turns {
            let question = turn.texts.join("\n");
            if question.trim().is_empty() {
                return Err(ApiError::field(
                    "messages",
                    "expected a question about the picture, found none",
                ));
            }
            let piece = |said| match said {
                Said::Text(text) => Piece::Text(text),
                Said::Picture(index) => Piece::Picture(pictures[index].clone()),
            };
            turns.push(Exchange {
                pictures: turn
                    .pictures
                    .iter()
                    .map(|index| pictures[*index].clone())
                    .collect(),
                question,
                answer: turn
                    .answer
                    .map(|said| said.into_iter().map(piece).collect()),
            });
        }
        Ok(Dialogue {
            system: (!self.system.is_empty()).then(|| self.system.join("\n")),
            turns,
        })
    }
}

#[cfg(test)]
mod tests;
