//! A file that is read in pieces, wherever it lies.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::Location;
use super::remote::{Object, ObjectReader};
use crate::DataError;

/// A file on this machine or elsewhere.
#[derive(Clone, Debug)]
pub struct Blob(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Local(PathBuf),
    Remote(Object),
}

/// Reads a [`Blob`] from any place on.
#[derive(Debug)]
pub enum Reader {
    /// On this machine.
    Local(File),
    /// Elsewhere.
    Remote(ObjectReader),
}

impl Blob {
    /// A file on this machine, which is looked for when it is read.
    pub fn local(path: impl Into<PathBuf>) -> Self {
        Self(Kind::Local(path.into()))
    }

    /// The file at a location.
    ///
    /// # Errors
    /// `Io` naming the address if it cannot be reached; a path is looked for when it is read.
    pub fn at(location: &Location) -> Result<Self, DataError> {
        match location {
            Location::Local(path) => Ok(Self::local(path)),
            Location::Remote(_) => Object::find(location).map(|object| Self(Kind::Remote(object))),
        }
    }

    /// Its path or address, as errors name it.
    pub fn path(&self) -> &Path {
        match &self.0 {
            Kind::Local(path) => path,
            Kind::Remote(object) => object.path(),
        }
    }

    /// Its last part.
    pub fn name(&self) -> String {
        let name = self.path().file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// How long it is.
    ///
    /// # Errors
    /// `Io`.
    pub fn size(&self) -> Result<u64, DataError> {
        match &self.0 {
            Kind::Local(path) => {
                let metadata = std::fs::metadata(path).map_err(|e| DataError::io(path, e))?;
                Ok(metadata.len())
            }
            Kind::Remote(object) => Ok(object.size()),
        }
    }

    /// Reads it from its start on.
    ///
    /// # Errors
    /// `Io`.
    pub fn open(&self) -> Result<Reader, DataError> {
        match &self.0 {
            Kind::Local(path) => {
                let file = File::open(path).map_err(|e| DataError::io(path, e))?;
                Ok(Reader::Local(file))
            }
            Kind::Remote(object) => Ok(Reader::Remote(object.open())),
        }
    }

    /// `length` bytes from `offset` on, or those up to the end; the caller limits their number.
    ///
    /// # Errors
    /// `Io`.
    pub fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, DataError> {
        let mut reader = self.open()?;
        let mut read = || {
            reader.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            reader.by_ref().take(length).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|e: io::Error| DataError::io(self.path(), e))
    }
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Local(file) => file.read(into),
            Self::Remote(object) => object.read(into),
        }
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Local(file) => file.seek(to),
            Self::Remote(object) => object.seek(to),
        }
    }
}
