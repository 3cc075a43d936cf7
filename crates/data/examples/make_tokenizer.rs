//! Writes `assets/tokenizer/tokenizer.json` from the built-in corpus and wording.

use std::path::Path;

use deem_data::corpus::{Corpus, Subset};
use deem_data::text::builtin_tokenizer_json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/tokenizer/tokenizer.json");
    let corpus = Corpus::builtin(Subset::Extended)?;
    std::fs::write(&path, builtin_tokenizer_json(&corpus))?;
    Ok(())
}
