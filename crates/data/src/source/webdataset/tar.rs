//! Walks over the members of a tar archive by their headers alone, from any member on. Trusts nothing: every
//! size is checked against the file's before anything is read or made.

use std::io::{self, Read, Seek, SeekFrom};

use tar::{EntryType, Header};

const BLOCK: u64 = 512;
/// Longest name in a block of its own.
const MAX_NAME: u64 = 64 << 10;
/// Largest block of extended headers.
const MAX_EXTENDED: u64 = 1 << 20;

/// A member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Where its headers start.
    pub start: u64,
    /// Its name.
    pub name: String,
    /// Where its content starts.
    pub data: u64,
    /// Length of its content.
    pub size: u64,
    /// What it is.
    pub content: Content,
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A plain file.
    File,
    /// A folder.
    Folder,
    /// Something that a data set has no use for, and why.
    Refused(&'static str),
}

/// What ends a walk early.
#[derive(Debug)]
pub(super) enum Damage {
    /// The file could not be read.
    Io(io::Error),
    /// At this byte the archive is not what it must be.
    At {
        offset: u64,
        expected: String,
        found: String,
    },
}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Members from some offset on; ends after the first damage.
pub(super) struct Members<R> {
    reader: R,
    length: u64,
    at: u64,
}

/// What extended headers say of the member behind them.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl<R: Read + Seek> Members<R> {
    /// Members whose headers start at `offset` or later.
    pub fn from(mut reader: R, offset: u64) -> io::Result<Self> {
        let length = reader.seek(SeekFrom::End(0))?;
        Ok(Self {
            reader,
            length,
            at: offset,
        })
    }

    /// The content of a member; the caller limits its size.
    pub fn read(&mut self, member: &Member) -> io::Result<Vec<u8>> {
        self.content(member.data, member.size)
    }

    fn content(&mut self, offset: u64, size: u64) -> io::Result<Vec<u8>> {
        self.reader.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        self.reader.by_ref().take(size).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }

    fn damage<T>(
        &self,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Result<T, Damage> {
        Err(Damage::At {
            offset: self.at,
            expected: expected.into(),
            found: found.into(),
        })
    }

    /// The next header; `None` at the archive's end.
    fn header(&mut self) -> Result<Option<Header>, Damage> {
        let left = self.length.saturating_sub(self.at);
        if left == 0 {
            return Ok(None);
        }
        if left < BLOCK {
            let found = format!("{left} bytes to the end of the file (is it cut off?)");
            return self.damage("a header of 512 bytes", found);
        }
        let bytes = self.content(self.at, BLOCK)?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(b"\x28\xb5\x2f\xfd") {
            return self.damage("a tar header", "a compressed file; unpack it first");
        }
        let header = Header::from_byte_slice(&bytes).clone();
        let sum = bytes[..148].iter().chain(&bytes[156..]);
        let sum = sum.map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
        if header.cksum().ok() != Some(sum) {
            return self.damage("a tar header", "something whose checksum is wrong");
        }
        Ok(Some(header))
    }

    fn member(&mut self) -> Result<Option<Member>, Damage> {
        let start = self.at;
        let mut extended = Extended::default();
        loop {
            let Some(header) = self.header()? else {
                return if self.at == start {
                    Ok(None)
                } else {
                    self.damage(
                        "a member after its extended header",
                        "the end of the archive",
                    )
                };
            };
            let kind = header.entry_type();
            let mut data = self.at + BLOCK;
            let Ok(stated) = header.entry_size() else {
                return self.damage("a size", "something that is no number");
            };
            let extension = matches!(
                kind,
                EntryType::GNULongName
                    | EntryType::GNULongLink
                    | EntryType::XHeader
                    | EntryType::XGlobalHeader
            );
            let size = extended.size.filter(|_| !extension).unwrap_or(stated);
            if kind == EntryType::GNUSparse {
                data = self.sparse_map(&header, data)?;
            }
            // Links, folders and devices have no content, whatever their size says.
            let size = match kind {
                EntryType::Link
                | EntryType::Symlink
                | EntryType::Char
                | EntryType::Block
                | EntryType::Fifo
                | EntryType::Directory => 0,
                _ => size,
            };
            let end = data.checked_add(size).filter(|end| *end <= self.length);
            let Some(end) = end else {
                let name = extended.name.as_deref().unwrap_or(&[]);
                let name = if name.is_empty() {
                    header.path_bytes().into_owned()
                } else {
                    name.to_vec()
                };
                let left = self.length.saturating_sub(data);
                return self.damage(
                    format!("{size} bytes of {:?}", String::from_utf8_lossy(&name)),
                    format!("{left} bytes to the end of the file (is it cut off?)"),
                );
            };
            match kind {
                EntryType::GNULongName if size > MAX_NAME => {
                    return self.damage(
                        format!("a name of at most {MAX_NAME} bytes"),
                        format!("{size}"),
                    );
                }
                EntryType::XHeader if size > MAX_EXTENDED => {
                    return self.damage(
                        format!("an extended header of at most {MAX_EXTENDED} bytes"),
                        format!("{size}"),
                    );
                }
                EntryType::GNULongName => {
                    let mut name = self.content(data, size)?;
                    name.truncate(name.iter().position(|b| *b == 0).unwrap_or(name.len()));
                    extended.name = Some(name);
                }
                EntryType::XHeader => {
                    let bytes = self.content(data, size)?;
                    extended.read(&bytes);
                }
                _ => {}
            }
            // Padding after the last member may be missing.
            self.at = end.next_multiple_of(BLOCK).min(self.length.max(end));
            if extension {
                continue;
            }
            let name = extended
                .name
                .unwrap_or_else(|| header.path_bytes().into_owned());
            let name = String::from_utf8_lossy(&name).into_owned();
            let content = content(kind, extended.sparse, &name);
            return Ok(Some(Member {
                start,
                name,
                data,
                size,
                content,
            }));
        }
    }

    /// Where the content of a sparse file starts: after the blocks that continue its map.
    fn sparse_map(&mut self, header: &Header, mut data: u64) -> Result<u64, Damage> {
        let mut more = header.as_bytes()[482] != 0;
        while more {
            let block = self.content(data, BLOCK)?;
            more = block[504] != 0;
            data += BLOCK;
        }
        Ok(data)
    }
}

impl<R: Read + Seek> Iterator for Members<R> {
    type Item = Result<Member, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        let member = self.member().transpose();
        if matches!(member, Some(Err(_))) {
            self.at = self.length;
        }
        member
    }
}

fn content(kind: EntryType, sparse: bool, name: &str) -> Content {
    match kind {
        EntryType::Directory => Content::Folder,
        EntryType::Link | EntryType::Symlink => Content::Refused("a link"),
        EntryType::GNUSparse => Content::Refused("a sparse file"),
        _ if sparse => Content::Refused("a sparse file"),
        EntryType::Regular | EntryType::Continuous => {
            let absolute = name.starts_with(['/', '\\']) || name.as_bytes().get(1) == Some(&b':');
            if absolute {
                Content::Refused("an absolute name")
            } else if name.split(['/', '\\']).any(|part| part == "..") {
                Content::Refused("a name that leaves its folder")
            } else {
                Content::File
            }
        }
        _ => Content::Refused("neither file nor folder"),
    }
}

impl Extended {
    /// Reads `<length> <key>=<value>\n` records up to the first that is none.
    fn read(&mut self, mut bytes: &[u8]) {
        while let Some(space) = bytes.iter().position(|b| *b == b' ') {
            let length = std::str::from_utf8(&bytes[..space])
                .ok()
                .and_then(|n| n.parse().ok());
            let Some(record) = length.and_then(|length: usize| bytes.get(space + 1..length)) else {
                return;
            };
            let record = record.strip_suffix(b"\n").unwrap_or(record);
            if let Some(equals) = record.iter().position(|b| *b == b'=') {
                let (key, value) = (&record[..equals], &record[equals + 1..]);
                match key {
                    b"path" => self.name = Some(value.to_vec()),
                    b"size" => {
                        self.size = std::str::from_utf8(value).ok().and_then(|n| n.parse().ok())
                    }
                    _ if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                    _ => {}
                }
            }
            bytes = &bytes[length.unwrap_or(bytes.len())..];
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn header(name: &[u8], size: u64, kind: u8) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_size(size);
        header.set_entry_type(EntryType::new(kind));
        header.set_mode(0o644);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    fn member(name: &[u8], content: &[u8], kind: u8) -> Vec<u8> {
        let mut bytes = header(name, content.len() as u64, kind);
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn walk(bytes: Vec<u8>) -> Vec<Result<(String, Content), String>> {
        Members::from(Cursor::new(bytes), 0)
            .unwrap()
            .map(|member| match member {
                Ok(member) => Ok((member.name, member.content)),
                Err(Damage::At {
                    expected, found, ..
                }) => Err(format!("{expected}; {found}")),
                Err(Damage::Io(error)) => Err(error.to_string()),
            })
            .collect()
    }

    #[test]
    fn names_of_all_kinds_are_read_from_any_member_on() {
        let long = "d/".repeat(90) + "x.jpg";
        let mut bytes = member(b"a.jpg", b"abc", b'0');
        bytes.extend(member(
            b"././@LongLink",
            format!("{long}\0").as_bytes(),
            b'L',
        ));
        bytes.extend(member(&long.as_bytes()[..99], b"defg", b'0'));
        let second = bytes.len() as u64;
        bytes.extend(member(
            b"PaxHeaders/u",
            "15 path=\u{fc}.jpg\n".as_bytes(),
            b'x',
        ));
        bytes.extend(member(b"u.jpg", b"", b'0'));
        bytes.extend([0; 1024]);
        let names: Vec<String> = walk(bytes.clone())
            .into_iter()
            .map(|m| m.unwrap().0)
            .collect();
        assert_eq!(names, ["a.jpg", &long, "\u{fc}.jpg"]);
        let mut members = Members::from(Cursor::new(bytes), second).unwrap();
        let last = members.next().unwrap().unwrap();
        assert_eq!((last.name.as_str(), last.start), ("\u{fc}.jpg", second));
        assert!(members.next().is_none());
    }

    #[test]
    fn hostile_members_are_refused_by_name_and_the_walk_goes_on() {
        let mut bytes = Vec::new();
        for (name, kind) in [
            (&b"../a.jpg"[..], b'0'),
            (b"x/../../a.jpg", b'0'),
            (b"/etc/a.jpg", b'0'),
            (b"C:\\a.jpg", b'0'),
            (b"link.jpg", b'2'),
            (b"hard.jpg", b'1'),
            (b"device", b'3'),
            (b"folder/", b'5'),
        ] {
            bytes.extend(header(name, 0, kind));
        }
        bytes.extend(member(b"PaxHeaders/s", b"22 GNU.sparse.major=1\n", b'x'));
        bytes.extend(member(b"s.jpg", b"1", b'0'));
        bytes.extend(member(b"b.jpg", b"1", b'0'));
        let kinds: Vec<Content> = walk(bytes).into_iter().map(|m| m.unwrap().1).collect();
        let refused = Content::Refused;
        assert_eq!(
            kinds,
            [
                refused("a name that leaves its folder"),
                refused("a name that leaves its folder"),
                refused("an absolute name"),
                refused("an absolute name"),
                refused("a link"),
                refused("a link"),
                refused("neither file nor folder"),
                Content::Folder,
                refused("a sparse file"),
                Content::File,
            ]
        );
    }

    #[test]
    fn a_sparse_files_map_is_passed_over() {
        let mut sparse = header(b"s.jpg", 3, b'S');
        sparse[482] = 1;
        let mut header = Header::from_byte_slice(&sparse).clone();
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend([1; 512]); // continues
        bytes.extend([0; 512]); // and ends
        bytes.extend([7; 512]); // the content
        bytes.extend(member(b"b.jpg", b"1", b'0'));
        let found = walk(bytes);
        assert_eq!(
            found[0],
            Ok(("s.jpg".into(), Content::Refused("a sparse file")))
        );
        assert_eq!(found[1], Ok(("b.jpg".into(), Content::File)));
    }

    #[test]
    fn damage_ends_the_walk_in_bounded_memory() {
        let good = member(b"a.jpg", b"abc", b'0');
        let damaged = |tail: Vec<u8>, told: &str| {
            let found = walk([good.clone(), tail].concat());
            assert_eq!(found.len(), 2);
            let error = found[1].as_ref().unwrap_err();
            assert!(error.contains(told), "{error}");
        };
        damaged(vec![1; 100], "cut off");
        damaged(vec![1; 512], "checksum");
        damaged(header(b"huge.jpg", 1 << 60, b'0'), "huge.jpg");
        damaged(header(b"././@LongLink", 1 << 50, b'L'), "cut off");
        damaged(
            member(b"././@LongLink", &vec![b'x'; 70_000], b'L'),
            "at most",
        );
        damaged(member(b"PaxHeaders", &vec![b'x'; 1 << 21], b'x'), "at most");
        damaged(
            member(b"././@LongLink", b"x\0", b'L'),
            "the end of the archive",
        );
        damaged(
            vec![0x1f; 1].into_iter().chain([0x8b; 511]).collect(),
            "compressed",
        );
    }
}
