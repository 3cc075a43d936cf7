//! What can be asked about a scene, in which forms, and how often.

use serde::{Deserialize, Serialize};

use crate::text::protocol::{self, fill};

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attribute {
    /// Is it there?
    Presence,
    /// Is it what the image is of?
    MainObject,
    /// How many?
    Quantity,
    /// What colour?
    Colour,
    /// Where?
    Position,
    /// Which way up?
    Orientation,
    /// What is behind?
    Background,
    /// How are they arranged?
    Structure,
}

impl Attribute {
    /// All attributes.
    pub const ALL: [Self; 8] = [
        Self::Presence,
        Self::MainObject,
        Self::Quantity,
        Self::Colour,
        Self::Position,
        Self::Orientation,
        Self::Background,
        Self::Structure,
    ];

    /// Name in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::MainObject => "main-object",
            Self::Quantity => "quantity",
            Self::Colour => "color",
            Self::Position => "position",
            Self::Orientation => "orientation",
            Self::Background => "background",
            Self::Structure => "structure",
        }
    }
}

/// How it is posed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Answered by yes or no.
    YesNo,
    /// Answered freely, in a word.
    Open,
    /// Two options, answered by the words of one: naming what is seen is a skill that open questions
    /// teach too, a letter is one more to learn.
    TwoOption,
}

impl Form {
    /// The form in words, for tables.
    pub fn words(self) -> &'static str {
        match self {
            Self::YesNo => "yes or no",
            Self::Open => "open",
            Self::TwoOption => "two options",
        }
    }
}

/// A question with its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// What it is about.
    pub attribute: Attribute,
    /// How it is posed.
    pub form: Form,
    /// The question itself, without instruction: "Is there a cat in the image?".
    pub text: String,
    /// The options of a choice: "(a) upright (b) upside down".
    pub options: Option<[String; 2]>,
    /// The true answer: `yes`, `two`, `turned left`.
    pub answer: String,
    /// What a yes/no question claims, in words that occur in its text: `red`, `top left`, a noun.
    pub claim: Option<String>,
}

impl Question {
    /// What stands after the image in the protocols: question, options, and the instruction how to answer.
    pub fn prompt(&self) -> String {
        match (&self.options, self.form) {
            (Some(_), _) => self.plain(),
            (None, Form::YesNo) => format!("{} {}", self.text, protocol::YES_OR_NO),
            (None, _) => format!("{} {}", self.text, protocol::ONE_WORD),
        }
    }

    /// The question and its options, without instruction: as people ask.
    pub fn plain(&self) -> String {
        match &self.options {
            None => self.text.clone(),
            Some([first, second]) => {
                let options = fill(protocol::OPTIONS, &[("first", first), ("second", second)]);
                format!("{} {options}", self.text)
            }
        }
    }
}

/// How often each kind of question is asked, by weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuestionMix {
    /// Presence, yes or no.
    pub presence: f32,
    /// Main object, yes or no.
    pub main_object: f32,
    /// Quantity.
    pub quantity: f32,
    /// Colour of an object.
    pub colour: f32,
    /// Position.
    pub position: f32,
    /// Orientation.
    pub orientation: f32,
    /// Background colour.
    pub background: f32,
    /// Arrangement.
    pub structure: f32,
    /// Weights of the forms yes/no, open, two options (where an attribute has them).
    pub forms: [f32; 3],
}

impl Default for QuestionMix {
    fn default() -> Self {
        Self {
            presence: 3.0,
            main_object: 1.5,
            quantity: 1.0,
            colour: 1.0,
            position: 1.0,
            orientation: 1.5,
            background: 0.5,
            structure: 0.7,
            forms: [0.4, 0.3, 0.3],
        }
    }
}

impl QuestionMix {
    pub(super) fn weight(&self, attribute: Attribute) -> f32 {
        match attribute {
            Attribute::Presence => self.presence,
            Attribute::MainObject => self.main_object,
            Attribute::Quantity => self.quantity,
            Attribute::Colour => self.colour,
            Attribute::Position => self.position,
            Attribute::Orientation => self.orientation,
            Attribute::Background => self.background,
            Attribute::Structure => self.structure,
        }
    }
}
