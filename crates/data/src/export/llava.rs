//! Conversations in LLaVA's layout beside a folder of pictures.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::turns::turns;
use super::{Writer, png, put};
use crate::DataError;
use crate::sample::Sample;

const FILE: &str = "conversations.json";

pub(super) struct Conversations {
    folder: PathBuf,
    records: Vec<Value>,
}

impl Conversations {
    pub fn new(folder: &Path) -> Result<Self, DataError> {
        let images = folder.join("images");
        std::fs::create_dir_all(&images).map_err(|e| DataError::io(images, e))?;
        Ok(Self {
            folder: folder.to_owned(),
            records: Vec::new(),
        })
    }
}

impl Writer for Conversations {
    fn add(&mut self, number: u64, sample: &Sample) -> Result<(), DataError> {
        let (turns, shown) = turns(sample)?;
        let mut names = Vec::new();
        for (place, index) in shown.into_iter().enumerate() {
            let name = format!("{number:06}-{place}.png");
            let bytes = png(&sample.images[index].image, &name)?;
            put(&self.folder, &format!("images/{name}"), &bytes)?;
            names.push(name);
        }
        let conversations: Vec<Value> = turns
            .into_iter()
            .flat_map(|turn| {
                [
                    json!({ "from": "human", "value": turn.question }),
                    json!({ "from": "gpt", "value": turn.answer }),
                ]
            })
            .collect();
        let mut record = json!({ "id": sample.id, "conversations": conversations });
        match names.as_slice() {
            [] => {}
            [one] => record["image"] = json!(one),
            several => record["image"] = json!(several),
        }
        self.records.push(record);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<String, DataError> {
        let lines: Vec<String> = self.records.iter().map(Value::to_string).collect();
        let text = format!("[\n{}\n]\n", lines.join(",\n"));
        put(&self.folder, FILE, text.as_bytes())?;
        Ok(format!(
            r#"kind = "llava", file = "{FILE}", images = "images""#
        ))
    }
}
