//! Configurations of public classes: JSON files of which every field that does not fit is named.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Probe;
use crate::EngineError;

impl Probe<'_> {
    /// The configuration as the class `T` reads it.
    ///
    /// # Errors
    /// `File` naming every field with a value that `T` does not know.
    pub(super) fn config<T: DeserializeOwned>(&self) -> Result<T, EngineError> {
        self.read(self.fields()?)
    }

    /// The same of a class that may be a part of another, whose file has it under the name `part`.
    pub(super) fn config_of<T: DeserializeOwned>(&self, part: &str) -> Result<T, EngineError> {
        let mut fields = self.fields()?;
        match fields.remove(part) {
            Some(Value::Object(own)) => self.read(own),
            _ => self.read(fields),
        }
    }

    /// Refuses what a class can be told and this network has only one way to do: each of the fields is
    /// absent, null or has this value.
    ///
    /// # Errors
    /// `File` naming every field with another value.
    pub(super) fn only(&self, fields: &[(&str, Value)]) -> Result<(), EngineError> {
        let found = self.fields()?;
        let problems = fields.iter().filter_map(|(field, only)| {
            let found = found.get(*field).filter(|found| !found.is_null())?;
            (found != only).then(|| format!("{field}: {found} is not supported, only {only}"))
        });
        let problems: Vec<String> = problems.collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(self.unfit(problems.join("; ")))
    }

    fn fields(&self) -> Result<Map<String, Value>, EngineError> {
        let text = std::fs::read_to_string(self.config).map_err(EngineError::io(self.config))?;
        // diffusers writes infinity, which is not JSON.
        let text = text.replace("-Infinity", "null");
        serde_json::from_str(&text).map_err(|error| self.unfit(error))
    }

    fn read<T: DeserializeOwned>(&self, fields: Map<String, Value>) -> Result<T, EngineError> {
        let misfits = misfits::<T>(&fields);
        if !misfits.is_empty() {
            return Err(self.unfit(misfits.join("; ")));
        }
        T::deserialize(Value::Object(fields)).map_err(|error| self.unfit(error))
    }
}

/// What is wrong with single fields of a class that has defaults for all of them.
fn misfits<T: DeserializeOwned>(fields: &Map<String, Value>) -> Vec<String> {
    let problem = |fields: Map<String, Value>| T::deserialize(Value::Object(fields)).err();
    if problem(Map::new()).is_some() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (field, value) in fields {
        // Each name in a list is a choice of its own.
        let parts = match value {
            Value::Array(names) if names.iter().all(Value::is_string) => {
                let alone = names.iter().map(|name| Value::Array(vec![name.clone()]));
                alone.collect()
            }
            other => vec![other.clone()],
        };
        let alone = parts.into_iter().map(|part| (field.clone(), part));
        let found = alone.filter_map(|pair| problem(Map::from_iter([pair])));
        problems.extend(found.map(|error| format!("{field}: {error}")));
    }
    problems.dedup();
    problems
}
