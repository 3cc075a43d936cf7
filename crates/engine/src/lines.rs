//! Files of lines that are appended while something goes on, and may be cut off anywhere.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::EngineError;

/// The whole lines of a file, nothing if it is not there, and whether something follows them that was not written to its
/// end.
///
/// # Errors
/// `Io` naming the file.
pub(crate) fn whole_lines(path: &Path) -> Result<(String, bool), EngineError> {
    let mut text = match fs::read(path) {
        // A line that was cut within a character is no text, and no whole line either.
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(EngineError::io(path)(error)),
    };
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let cut = whole < text.len();
    text.truncate(whole);
    Ok((text, cut))
}
