//! Text: tokenizers, the built-in vocabulary, and conversation templates.

mod byte_pairs;
mod chat;
mod conversation;
mod special;
mod tokenizer;
mod vocabulary;

pub use byte_pairs::{BytePairs, TokenKind};
pub use chat::{ChatTemplate, Turn};
pub use conversation::{
    answer, caption_prompt, dialogue_prompt, question_prompt, region_prompt, text_question_prompt,
};
pub use special::SpecialTokens;
pub use tokenizer::TextTokenizer;
pub use vocabulary::{builtin_tokenizer_json, builtin_words};
