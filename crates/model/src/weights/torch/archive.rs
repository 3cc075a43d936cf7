//! The zip archives that `torch.save` writes: entries are stored, not compressed.

use std::collections::HashMap;
use std::ops::Range;

const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
/// Length of the end record without its comment, and the longest comment.
const END_LENGTH: usize = 22;
const MAX_COMMENT: usize = 0xffff;
/// Stands for "the number is in the 64-bit record".
const WIDE: u64 = 0xffff_ffff;

/// Where the entries of an archive lie, by name; or the broken rule.
pub(super) fn entries(bytes: &[u8]) -> Result<HashMap<String, Range<usize>>, String> {
    let (count, mut at) = directory(bytes)?;
    let mut entries = HashMap::new();
    for _ in 0..count {
        let entry = Record(bytes, at);
        if entry.u32(0)? != CENTRAL {
            return Err("its directory holds something that is no entry".into());
        }
        let (method, name, extra) = (entry.u16(10)?, entry.u16(28)?, entry.u16(30)?);
        let (mut size, mut offset) = (u64::from(entry.u32(24)?), u64::from(entry.u32(42)?));
        let stored = u64::from(entry.u32(20)?);
        let (name, extra) = (usize::from(name), usize::from(extra));
        let text = entry.slice(46, name)?;
        let name_text = String::from_utf8(text.to_vec()).map_err(|_| "a name is not UTF-8")?;
        if size == WIDE || offset == WIDE || stored == WIDE {
            let wide = [size, stored, offset].map(|value| value == WIDE);
            let found = widened(entry.slice(46 + name, extra)?, wide)?;
            size = found[0].unwrap_or(size);
            offset = found[2].unwrap_or(offset);
        }
        if method != 0 {
            return Err(format!(
                "entry {name_text:?} is compressed, which torch.save does not do"
            ));
        }
        let range =
            content(bytes, offset, size).map_err(|rule| format!("entry {name_text:?}: {rule}"))?;
        if entries.insert(name_text.clone(), range).is_some() {
            return Err(format!("entry {name_text:?} is there twice"));
        }
        at += 46 + name + extra + usize::from(entry.u16(32)?);
    }
    Ok(entries)
}

/// Number of entries, and where the directory begins.
fn directory(bytes: &[u8]) -> Result<(u64, usize), String> {
    let last = bytes
        .len()
        .checked_sub(END_LENGTH)
        .ok_or("too short for a zip archive")?;
    let first = last.saturating_sub(MAX_COMMENT);
    let at = (first..=last)
        .rev()
        .find(|at| Record(bytes, *at).u32(0) == Ok(END));
    let at = at.ok_or("a zip archive without an end record; it was cut off")?;
    let end = Record(bytes, at);
    let (count, offset) = (u64::from(end.u16(10)?), u64::from(end.u32(16)?));
    if count != 0xffff && offset != WIDE {
        return Ok((count, position(offset)?));
    }
    let locator = at.checked_sub(20).map(|at| Record(bytes, at));
    match locator {
        Some(locator) if locator.u32(0)? == LOCATOR_64 => {
            let end = Record(bytes, position(locator.u64(8)?)?);
            if end.u32(0)? != END_64 {
                return Err("its 64-bit end record is not where it should be".into());
            }
            Ok((end.u64(32)?, position(end.u64(48)?)?))
        }
        _ => Ok((count, position(offset)?)),
    }
}

/// The 64-bit numbers of an extra field, for those that need one.
fn widened(extra: &[u8], wide: [bool; 3]) -> Result<[Option<u64>; 3], String> {
    let mut at = 0;
    while at + 4 <= extra.len() {
        let field = Record(extra, at);
        let (id, length) = (field.u16(0)?, usize::from(field.u16(2)?));
        if id == 1 {
            let mut from = 4;
            let mut found = [None; 3];
            for (value, _) in found.iter_mut().zip(wide).filter(|(_, wide)| *wide) {
                *value = Some(field.u64(from)?);
                from += 8;
            }
            return Ok(found);
        }
        at += 4 + length;
    }
    Err("an entry's 64-bit sizes are missing".into())
}

/// The bytes of an entry, behind its own header.
fn content(bytes: &[u8], offset: u64, size: u64) -> Result<Range<usize>, String> {
    let at = position(offset)?;
    let local = Record(bytes, at);
    if local.u32(0)? != LOCAL {
        return Err("its header is not where the directory says".into());
    }
    let start = at + 30 + usize::from(local.u16(26)?) + usize::from(local.u16(28)?);
    let end = start
        .checked_add(position(size)?)
        .filter(|end| *end <= bytes.len());
    Ok(start..end.ok_or("it reaches beyond the end of the file")?)
}

fn position(value: u64) -> Result<usize, String> {
    usize::try_from(value).map_err(|e| e.to_string())
}

/// Numbers at places of a record, all in bounds.
struct Record<'a>(&'a [u8], usize);

impl<'a> Record<'a> {
    fn slice(&self, from: usize, length: usize) -> Result<&'a [u8], String> {
        let start = self.1.checked_add(from);
        let end = start.and_then(|start| start.checked_add(length));
        match (start, end) {
            (Some(start), Some(end)) if end <= self.0.len() => Ok(&self.0[start..end]),
            _ => Err("a record of the archive is cut off".into()),
        }
    }

    fn u16(&self, from: usize) -> Result<u16, String> {
        Ok(u16::from_le_bytes(
            self.slice(from, 2)?.try_into().expect("two bytes"),
        ))
    }

    fn u32(&self, from: usize) -> Result<u32, String> {
        Ok(u32::from_le_bytes(
            self.slice(from, 4)?.try_into().expect("four bytes"),
        ))
    }

    fn u64(&self, from: usize) -> Result<u64, String> {
        Ok(u64::from_le_bytes(
            self.slice(from, 8)?.try_into().expect("eight bytes"),
        ))
    }
}
