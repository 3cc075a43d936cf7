//! Text: tokenizers, the built-in vocabulary, and conversation templates.

mod conversation;
mod special;
mod tokenizer;
mod vocabulary;

pub use conversation::{
    answer, caption_prompt, dialogue_prompt, question_prompt, region_prompt, text_question_prompt,
};
pub use special::SpecialTokens;
pub use tokenizer::TextTokenizer;
pub use vocabulary::{builtin_tokenizer_json, builtin_words};
