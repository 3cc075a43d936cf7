//! Where the records of a JSON file start and end, found in one pass over the bytes, in memory that does not grow with
//! the records. What stands in a record is not looked at.

use std::io::BufRead;

use super::Within;

/// Longest name of a member that is kept.
const MAX_NAME: usize = 64;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub offset: u64,
    /// `u32::MAX` for more than that.
    pub len: u32,
    pub line: u32,
}

/// The pass over the bytes.
#[derive(Default)]
pub(super) struct Scan {
    within: Within,
    places: Vec<Place>,
    state: State,
    /// Offset and line of the record that is being read, and one past its last byte that is no space.
    start: (u64, u64),
    end: u64,
    depth: u64,
    in_string: bool,
    escaped: bool,
    /// Name of the member that is being read.
    name: Vec<u8>,
    offset: u64,
    line: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    BetweenLines,
    Line,
    BetweenElements,
    /// In an array, after a comma: a value must follow.
    Wanted,
    Element,
    /// In an object, before a name.
    BetweenMembers,
    Name,
    /// After a name, before its value.
    Named,
    /// In a value that is a record.
    Value,
    /// In a value that is none.
    Other,
    Done,
    /// The list of the wanted name has been read; the rest does not matter.
    Found,
    /// Something stands behind the array's end.
    Trailing(u64),
    /// The file, or the member of the wanted name, is something else.
    Wrong(u64, &'static str),
}

impl Scan {
    pub fn of(within: Within) -> Self {
        Self {
            within,
            ..Self::default()
        }
    }

    pub fn read(&mut self, mut reader: impl BufRead) -> std::io::Result<()> {
        loop {
            let bytes = reader.fill_buf()?;
            let count = bytes.len();
            if count == 0 || self.state == State::Found {
                return Ok(());
            }
            let skip = if self.offset == 0 && bytes.starts_with(b"\xef\xbb\xbf") {
                3
            } else {
                0
            };
            self.offset += skip as u64;
            for byte in &bytes[skip..] {
                self.byte(*byte);
                self.offset += 1;
                self.line += u64::from(*byte == b'\n');
            }
            reader.consume(count);
        }
    }

    fn byte(&mut self, byte: u8) {
        let space = byte.is_ascii_whitespace();
        match self.state {
            State::Start if space => {}
            State::Start if self.within != Within::File => {
                self.state = match byte {
                    b'{' => State::BetweenMembers,
                    _ => State::Wrong(self.line + 1, "an object"),
                };
            }
            State::Start if byte == b'[' => self.state = State::BetweenElements,
            State::Start | State::BetweenLines => {
                if !space {
                    self.begin(State::Line);
                }
            }
            State::Line if byte == b'\n' => self.close(State::BetweenLines),
            State::Line => {
                if !space {
                    self.end = self.offset + 1;
                }
            }
            State::BetweenElements | State::Wanted if space => {}
            State::BetweenElements if byte == b']' => self.state = self.after_list(),
            State::BetweenElements | State::Wanted => {
                self.begin(State::Element);
                self.inside(byte);
            }
            State::BetweenMembers | State::Name | State::Named => self.member(byte),
            State::Element | State::Value | State::Other => self.inside(byte),
            State::Done => {
                if !space {
                    self.state = State::Trailing(self.line + 1);
                }
            }
            State::Found | State::Trailing(_) | State::Wrong(..) => {}
        }
    }

    /// Between members, in a name, or before a value.
    fn member(&mut self, byte: u8) {
        match (self.state, byte) {
            (State::Name, _) if self.escaped => self.escaped = false,
            (State::Name, b'\\') => self.escaped = true,
            (State::Name, b'"') => self.state = State::Named,
            (State::Name, _) => {
                if self.name.len() < MAX_NAME {
                    self.name.push(byte);
                }
            }
            (_, b' ' | b'\t' | b'\r' | b'\n' | b',') => {}
            (State::BetweenMembers, b'"') => {
                self.name.clear();
                self.begin(State::Name);
            }
            (State::BetweenMembers, b'}') => self.state = State::Done,
            (State::BetweenMembers, _) => {
                self.state = State::Wrong(self.line + 1, "a name in quotes");
            }
            (_, b':') => {}
            _ => match self.within {
                Within::List(name) if self.name == name.as_bytes() => {
                    self.state = match byte {
                        b'[' => State::BetweenElements,
                        _ => State::Wrong(self.line + 1, "a list of that name"),
                    };
                }
                Within::Members => {
                    self.state = State::Value; // a record that starts with its name
                    self.inside(byte);
                }
                _ => {
                    self.state = State::Other;
                    self.inside(byte);
                }
            },
        }
    }

    /// In a value, of an array or of an object.
    fn inside(&mut self, byte: u8) {
        if self.in_string {
            if self.escaped {
                self.escaped = false;
            } else if byte == b'\\' {
                self.escaped = true;
            } else if byte == b'"' {
                self.in_string = false;
            }
        } else {
            let element = self.state == State::Element;
            match byte {
                b',' if self.depth == 0 && element => return self.close(State::Wanted),
                b',' if self.depth == 0 => return self.close(State::BetweenMembers),
                b']' if self.depth == 0 && element => {
                    let after = self.after_list();
                    return self.close(after);
                }
                b'}' if self.depth == 0 && !element => return self.close(State::Done),
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        if !byte.is_ascii_whitespace() {
            self.end = self.offset + 1;
        }
    }

    fn after_list(&self) -> State {
        match self.within {
            Within::List(_) => State::Found,
            _ => State::Done,
        }
    }

    fn begin(&mut self, state: State) {
        self.state = state;
        self.start = (self.offset, self.line + 1);
        self.end = self.offset + 1;
    }

    fn close(&mut self, state: State) {
        let counts = self.state != State::Other;
        self.state = state;
        if !counts {
            return;
        }
        let (offset, line) = self.start;
        let len = self.end.min(self.offset).saturating_sub(offset);
        self.places.push(Place {
            offset,
            len: u32::try_from(len).unwrap_or(u32::MAX),
            line: u32::try_from(line).unwrap_or(u32::MAX),
        });
    }

    /// The records; else line, what was expected there, and what was found.
    pub fn finish(mut self) -> Result<Vec<Place>, (u64, String, &'static str)> {
        let end = "the end of the file";
        let named = match self.within {
            Within::List(name) => format!(" ({name:?})"),
            _ => String::new(),
        };
        match self.state {
            State::Line => self.close(State::BetweenLines),
            State::BetweenElements | State::Wanted | State::Element => {
                let expected = format!("a list that ends with \"]\" (is the file cut off?){named}");
                return Err((self.line + 1, expected, end));
            }
            State::BetweenMembers | State::Name | State::Named | State::Value | State::Other => {
                let expected =
                    format!("an object that ends with \"}}\" (is the file cut off?){named}");
                return Err((self.line + 1, expected, end));
            }
            State::Trailing(line) => {
                let expected = "nothing after the list's \"]\" or the object's \"}\"";
                return Err((line, expected.into(), "more"));
            }
            State::Wrong(line, expected) => {
                return Err((line, format!("{expected}{named}"), "something else"));
            }
            State::Done if matches!(self.within, Within::List(_)) => {
                return Err((self.line + 1, format!("a list of that name{named}"), "none"));
            }
            State::Start | State::BetweenLines | State::Done | State::Found => {}
        }
        Ok(self.places)
    }
}
