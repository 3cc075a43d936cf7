//! Scenes composed of drawings: what is in them (exactly), how they look, and how one talks about them.

mod caption;
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
pub mod wording;

pub use caption::Captioner;
pub(crate) use facts::other;
pub use facts::{Facts, Group};
pub use pool::Pool;
pub use question::{Attribute, Form, Question, QuestionMix};
pub use questioner::Questioner;
pub use render::{Rendered, Renderer};
pub use sampler::{Draft, SceneConfig, SceneSampler};
pub(crate) use slots::slots;
pub use spec::{Arrangement, Background, Object, Orientation, Position, Scene, Tint};
