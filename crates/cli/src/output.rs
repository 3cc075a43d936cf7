//! Standard output and standard error, which may be full or closed.

use std::fmt::Arguments;
use std::io::{self, Write};

/// What cannot be written to standard output ends the program; the result would be lost.
fn ended(written: io::Result<()>) {
    if let Err(error) = written {
        note(format_args!("error: standard output: {error}"));
        std::process::exit(1);
    }
}

/// Writes a line to standard output.
pub fn line(text: Arguments) {
    ended(writeln!(io::stdout(), "{text}"));
}

/// Writes a piece of a line to standard output, at once.
pub fn piece(text: &str) {
    let mut out = io::stdout();
    ended(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Writes a line to standard error; whoever does not listen loses nothing but that.
pub fn note(text: Arguments) {
    aside(format_args!("{text}\n"));
}

/// Writes a piece of a line to standard error.
pub fn aside(text: Arguments) {
    let _ = io::stderr().write_fmt(text);
}
