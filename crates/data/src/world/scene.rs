//! Scenes composed of drawings: what is in them (exactly), how they look, and how one talks about them.

mod caption;
mod config;
mod facts;
mod pool;
mod question;
mod questioner;
mod render;
mod sampler;
mod slots;
mod spec;
mod sprite;
mod values;
mod web_caption;
pub mod wording;

pub use caption::Captioner;
pub use config::SceneConfig;
pub(crate) use facts::other;
pub use facts::{Facts, Group};
pub use pool::Pool;
pub use question::{Attribute, Form, Question, QuestionMix};
pub use questioner::Questioner;
pub use render::{Rendered, Renderer};
pub use sampler::{Draft, SceneSampler};
pub(crate) use slots::slots;
pub use spec::{Arrangement, Background, Object, Orientation, Position, Scene, Tint};
pub use web_caption::WebCaptions;
