//! Text: tokenizers, prompts in the published protocols' words, and conversation templates.

mod byte_pairs;
mod chat;
mod encoder;
mod growing;
pub mod protocol;
mod sentencepiece;
mod special;
mod template;
mod tokenizer;

pub use byte_pairs::{BytePairs, TokenKind};
pub use chat::{Said, Turn};
pub use encoder::EncoderTokenizer;
pub use growing::GrowingText;
pub use protocol::{
    answer, caption_prompt, dialogue_prompt, question_prompt, question_turn, region_prompt,
    short_question, text_question_prompt,
};
pub use special::SpecialTokens;
pub use template::ChatTemplate;
pub use tokenizer::{Ends, TextTokenizer};
