//! A file as the Parquet reader wants it: every piece that it asks for lies in the file, and no page is larger than a
//! page may be, whatever the file says.

use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::DataError;
use crate::storage::{Blob, Reader};

/// Largest page, packed and unpacked.
const MAX_PAGE: u64 = 512 << 20;
/// What the head of a page takes up to its sizes: a byte and a number of five bytes, three times.
const HEAD: usize = 18;

/// The file.
pub(super) struct Chunks {
    blob: Blob,
    size: u64,
}

impl Chunks {
    /// # Errors
    /// `Io`.
    pub fn open(blob: Blob) -> std::result::Result<Self, DataError> {
        let size = blob.size()?;
        Ok(Self { blob, size })
    }

    pub fn blob(&self) -> &Blob {
        &self.blob
    }
}

fn failed(told: String) -> ParquetError {
    ParquetError::General(told)
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Chunks {
    type T = Reader;

    /// Is asked for the head of a page.
    fn get_read(&self, start: u64) -> Result<Reader> {
        let io = |e: io::Error| failed(e.to_string());
        let mut reader = self.blob.open().map_err(|e| failed(e.to_string()))?;
        reader.seek(SeekFrom::Start(start)).map_err(io)?;
        let mut head = Vec::with_capacity(HEAD);
        reader
            .by_ref()
            .take(HEAD as u64)
            .read_to_end(&mut head)
            .map_err(io)?;
        check_head(&head)?;
        reader.seek(SeekFrom::Start(start)).map_err(io)?;
        Ok(reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let length = length as u64;
        let inside = start
            .checked_add(length)
            .is_some_and(|end| end <= self.size);
        if !inside || length > MAX_PAGE {
            return Err(failed(format!(
                "{length} bytes at byte {start} of {}, at most {MAX_PAGE} at once",
                self.size
            )));
        }
        let bytes = self.blob.read(start, length);
        let bytes = bytes.map_err(|e| failed(e.to_string()))?;
        if (bytes.len() as u64) < length {
            return Err(failed("the file has become shorter".into()));
        }
        // By the index of pages, a page is asked for with its head.
        check_head(&bytes[..bytes.len().min(HEAD)])?;
        Ok(bytes.into())
    }
}

/// Refuses the head of a page (in Thrift's compact encoding: fields 1, 2 and 3 are numbers) whose size unpacked is too
/// large. What is no such head is left to the reader.
fn check_head(head: &[u8]) -> Result<()> {
    let mut rest = head;
    let mut sizes = [0u64; 3];
    for size in &mut sizes {
        let [0x15, after @ ..] = rest else {
            return Ok(());
        };
        let Some((value, after)) = number(after) else {
            return Ok(());
        };
        (*size, rest) = (value, after);
    }
    match sizes[1] {
        size if size > MAX_PAGE => Err(failed(format!(
            "a page of {size} bytes unpacked, at most {MAX_PAGE}"
        ))),
        _ => Ok(()),
    }
}

/// A number of at most five bytes of seven bits, least first, that is not negative.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (place, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            // The lowest bit is the sign.
            return (value & 1 == 0).then_some((value >> 1, &bytes[place + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_that_promise_too_much_are_refused() {
        // DATA_PAGE, 1000 bytes unpacked, 10 packed
        assert!(check_head(&[0x15, 0, 0x15, 0xd0, 0x0f, 0x15, 20]).is_ok());
        let huge = [0x15, 0, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x15, 20];
        assert!(
            check_head(&huge)
                .unwrap_err()
                .to_string()
                .contains("2147483647")
        );
        assert!(check_head(b"PAR1").is_ok());
        assert!(check_head(&[0x15]).is_ok());
    }
}
