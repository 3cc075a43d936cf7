//! Writes `assets/tokenizer/tokenizer.json` from the built-in corpus and wording.

use std::path::Path;

use deem_data::world::builtin_tokenizer_json;
use deem_data::world::corpus::{Corpus, Subset};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/tokenizer/tokenizer.json");
    let corpus = Corpus::builtin(Subset::Extended)?;
    std::fs::write(&path, builtin_tokenizer_json(&corpus))?;
    Ok(())
}
