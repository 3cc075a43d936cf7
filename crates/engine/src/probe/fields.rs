//! Configurations of public classes: JSON files of which every field that does not fit is named.

use deem_model::published::{Fields, Published, fields};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Probe;
use crate::EngineError;

impl Probe<'_> {
    /// The configuration as the class of `T` reads it.
    ///
    /// # Errors
    /// `File` naming every field with a value that cannot be computed.
    pub(super) fn published<T: Published>(&self) -> Result<T, EngineError> {
        let found = T::published(self.fields()?);
        found.map_err(|problems| self.unfit(problems.join("; ")))
    }

    /// Fields that no public class has.
    ///
    /// # Errors
    /// `File`.
    pub(super) fn config<T: DeserializeOwned>(&self) -> Result<T, EngineError> {
        let fields = Value::Object(self.fields()?);
        T::deserialize(fields).map_err(|error| self.unfit(error))
    }

    fn fields(&self) -> Result<Fields, EngineError> {
        let text = std::fs::read_to_string(self.config).map_err(EngineError::io(self.config))?;
        fields(&text).map_err(|problem| self.unfit(problem))
    }
}
