//! One self-contained folder of a model: specification, all weights, tokenizer. It opens anywhere.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use deem_data::text::Ends;
use deem_engine::foundation::{CHECKSUMS, listed};
use deem_model::weights::{lazy_state, write_stream};
use serde_json::json;

use crate::fingerprint::sha256;
use crate::{Description, Error, Parts, Purpose};

/// Files of an exported folder, but for the list of their checksums.
const WEIGHTS: &str = "model.safetensors";

/// Writes a model into an empty or new folder. Weights keep the float type in which they are computed with: what
/// opens there gives the same answers, token by token.
///
/// # Errors
/// `File` if the folder is not empty, `NotLoaded` if the parts were found for less than everything, and those
/// of assembling the model.
///
/// ```no_run
/// # fn main() -> Result<(), deem::Error> {
/// let parts = deem::Open::named("runs/reproduce/feedback/seed-1").find()?;
/// deem::export(&parts, "corrected".as_ref())?;
/// let model = deem::Open::named("corrected").load()?;
/// # Ok(())
/// # }
/// ```
pub fn export(parts: &Parts, folder: &Path) -> Result<(), Error> {
    if parts.purpose != Purpose::Everything {
        return Err(Error::NotLoaded {
            asked: "exporting",
            needs: Purpose::Everything.name(),
            opened: parts.purpose.name(),
        });
    }
    let mut entries = fs::read_dir(folder).into_iter().flatten();
    if folder.is_file() || entries.next().is_some() {
        return Err(Error::file(
            folder,
            "already there; choose an empty or new folder",
        ));
    }
    let tokenizer = parts.tokenizer()?;
    let network = parts.assemble(0, &Device::flex())?.no_grad();
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(Error::io(&path))
    };

    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    write_stream(&mut lazy_state(&network), &folder.join(WEIGHTS), &metadata)?;
    write("tokenizer.json", tokenizer.to_json()?)?;
    if let Some(template) = tokenizer.chat_template() {
        let mut config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": template.source,
        });
        for (name, word) in &template.words {
            config[name] = json!(word);
        }
        write("tokenizer_config.json", format!("{config:#}\n"))?;
    }
    let ends = tokenizer.ends();
    if *ends != Ends::default() {
        let config = json!({ "eos_token_id": ends.tokens, "stop_strings": ends.texts });
        write("generation_config.json", format!("{config:#}\n"))?;
    }
    write("README.md", readme(parts))?;
    let mut sums = BTreeMap::new();
    for name in crate::locate::file_names(folder, "") {
        let sum = sha256(&folder.join(&name))?;
        sums.insert(name, sum);
    }
    write(CHECKSUMS, listed(&sums))?;
    // Last: a folder without it is no model.
    let mut description = Description::new(&parts.name, &parts.spec, "f32");
    description.trained = parts.trained.clone();
    description.whole = true;
    description.write(folder)?;
    Ok(())
}

/// The model card: what it is made of, and whose licences hold.
fn readme(parts: &Parts) -> String {
    let mut text = format!(
        "# {}\n\nA deem model: specification in `model.json`, all weights in `{WEIGHTS}` under deem's keys, checksums \
         in `{CHECKSUMS}`.\n\n    deem ask --model THIS_FOLDER PICTURE \"QUESTION\"\n\n## Licences\n\nThe weights \
         contain, or were trained from, the parts below. Each part's own licence holds for this folder, too: read \
         it before you pass the folder on.\n\n",
        parts.name
    );
    for found in &parts.base {
        text.push_str(&format!("- {}: {}\n", found.part.name(), found.name));
    }
    if !parts.trained.stages.is_empty() {
        text.push_str(&format!(
            "\nTrained in: {}.\n",
            parts.trained.stages.join(", ")
        ));
    }
    text
}
