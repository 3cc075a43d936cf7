//! A folder in an object store that files are put into.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{MultipartUpload, ObjectStoreExt};

use super::Location;
use super::remote::{Store, advised, wait};
use crate::DataError;

/// Length of the pieces in which long files travel: stores take at least 5 MiB, and at most 10,000 of them.
const PIECE: u64 = 64 << 20;

/// A folder in an object store. An object appears whole or not at all, whatever happens while it is put there.
#[derive(Clone, Debug)]
pub struct Bucket {
    store: Store,
    location: Location,
}

impl Bucket {
    /// The folder at an address, which need not exist.
    ///
    /// # Errors
    /// `Io` naming the address if it is none of an object store.
    pub fn at(location: &Location) -> Result<Self, DataError> {
        let path = PathBuf::from(location.to_string());
        let store =
            Store::of(location).map_err(|reason| DataError::io(&path, io::Error::other(reason)))?;
        Ok(Self {
            store,
            location: location.clone(),
        })
    }

    /// One that is gone with the program: for tests.
    pub fn in_memory() -> Self {
        Self {
            store: Store {
                store: Arc::new(InMemory::new()),
                key: Key::default(),
            },
            location: Location::Local("memory".into()),
        }
    }

    /// Where it lies.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Puts an object of these bytes there.
    ///
    /// # Errors
    /// `Io` naming its address.
    pub fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), DataError> {
        let store = self.object(name)?;
        let put = async move { store.store.put(&store.key, bytes.into()).await };
        wait(put).map(|_| ()).map_err(|e| self.failed(name, e))
    }

    /// Puts a file there.
    ///
    /// # Errors
    /// `Io` naming the file or its address.
    pub fn put_file(&self, name: &str, path: &Path) -> Result<(), DataError> {
        let read = |e| DataError::io(path, e);
        let mut file = File::open(path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        if length <= PIECE {
            let mut bytes = Vec::with_capacity(length as usize);
            file.read_to_end(&mut bytes).map_err(read)?;
            return self.put(name, bytes);
        }
        let store = self.object(name)?;
        let begun = async move { store.store.put_multipart(&store.key).await };
        let mut upload = wait(begun).map_err(|e| self.failed(name, e))?;
        let mut pieces = || {
            loop {
                let mut bytes = Vec::new();
                let mut piece = Read::by_ref(&mut file).take(PIECE);
                piece.read_to_end(&mut bytes).map_err(read)?;
                if bytes.is_empty() {
                    return Ok(());
                }
                wait(upload.put_part(bytes.into())).map_err(|e| self.failed(name, e))?;
            }
        };
        let put = pieces();
        let ended = wait(async move {
            match put {
                Ok(()) => upload.complete().await.map(|_| Ok(())),
                Err(error) => {
                    // What is left of it costs money, and nobody needs it.
                    let _ = upload.abort().await;
                    Ok(Err(error))
                }
            }
        });
        ended.map_err(|e| self.failed(name, e))?
    }

    /// The bytes of a small object; nothing if there is none.
    ///
    /// # Errors
    /// `Io` naming its address.
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, DataError> {
        let store = self.object(name)?;
        let got = wait(async move { store.store.get(&store.key).await?.bytes().await });
        match got {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(name, error)),
        }
    }

    /// Writes an object into a file.
    ///
    /// # Errors
    /// `Io` naming its address or the file.
    pub fn get_file(&self, name: &str, path: &Path) -> Result<(), DataError> {
        let written = |e| DataError::io(path, e);
        let absent = || self.failed(name, io::ErrorKind::NotFound.into());
        let length = self.size(name)?.ok_or_else(absent)?;
        let mut file = File::create(path).map_err(written)?;
        let mut at = 0;
        while at < length {
            let store = self.object(name)?;
            let range = at..length.min(at + PIECE);
            at = range.end;
            let got = wait(async move { store.store.get_range(&store.key, range).await });
            let bytes = got.map_err(|e| self.failed(name, e))?;
            file.write_all(&bytes).map_err(written)?;
        }
        file.sync_all().map_err(written)
    }

    /// How long an object is; nothing if there is none.
    ///
    /// # Errors
    /// `Io` naming its address.
    pub fn size(&self, name: &str) -> Result<Option<u64>, DataError> {
        let store = self.object(name)?;
        match wait(async move { store.store.head(&store.key).await }) {
            Ok(found) => Ok(Some(found.size)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(name, error)),
        }
    }

    /// Names of the objects in a folder, without those of folders in it.
    ///
    /// # Errors
    /// `Io` naming its address.
    pub fn list(&self, folder: &str) -> Result<Vec<String>, DataError> {
        let store = self.object(folder)?;
        let listed = wait(async move { store.store.list_with_delimiter(Some(&store.key)).await });
        let listed = listed.map_err(|e| self.failed(folder, e))?;
        let names = listed.objects.iter().filter_map(|o| o.location.filename());
        Ok(names.map(str::to_owned).collect())
    }

    /// Removes an object.
    ///
    /// # Errors
    /// `Io` naming its address.
    pub fn delete(&self, name: &str) -> Result<(), DataError> {
        let store = self.object(name)?;
        let deleted = wait(async move { store.store.delete(&store.key).await });
        match deleted {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(name, error)),
            _ => Ok(()),
        }
    }

    /// What lies under a name of `/`-separated parts.
    fn object(&self, name: &str) -> Result<Store, DataError> {
        let key = format!("{}/{name}", self.store.key);
        let key = Key::parse(key).map_err(|e| self.failed(name, io::Error::other(e)))?;
        Ok(Store {
            store: self.store.store.clone(),
            key,
        })
    }

    fn failed(&self, name: &str, cause: io::Error) -> DataError {
        let path = PathBuf::from(self.location.join(name).to_string());
        DataError::io(&path, advised(&self.location, cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_put_found_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let bucket = Bucket::in_memory();
        assert_eq!(bucket.get("index.json").unwrap(), None);
        bucket.put("index.json", b"{}".to_vec()).unwrap();
        bucket.put("parts/a.bin", vec![1; 3]).unwrap();
        assert_eq!(bucket.get("index.json").unwrap(), Some(b"{}".to_vec()));
        assert_eq!(bucket.list("parts").unwrap(), ["a.bin"]);
        assert_eq!(bucket.size("parts/a.bin").unwrap(), Some(3));
        let path = folder.path().join("a.bin");
        bucket.get_file("parts/a.bin", &path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [1; 3]);
        bucket.put_file("parts/b.bin", &path).unwrap();
        for _ in 0..2 {
            bucket.delete("parts/a.bin").unwrap();
        }
        assert_eq!(bucket.size("parts/a.bin").unwrap(), None);
        assert_eq!(bucket.list("parts").unwrap(), ["b.bin"]);
        let error = bucket.get_file("parts/a.bin", &path).unwrap_err();
        assert!(error.to_string().contains("parts/a.bin"), "{error}");
    }

    #[test]
    fn long_files_travel_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        let bytes: Vec<u8> = (0..PIECE as usize + 5).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let bucket = Bucket::in_memory();
        bucket.put_file("long", &path).unwrap();
        let back = folder.path().join("back");
        bucket.get_file("long", &back).unwrap();
        assert!(std::fs::read(&back).unwrap() == bytes);
    }
}
