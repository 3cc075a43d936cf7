//! Files in object stores and behind web servers, in blocks. One thread of the process drives all requests; reading
//! one block after the other asks for the next ones ahead of time.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError, mpsc};

use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, ObjectStoreScheme};
use tokio::runtime::{Builder, Handle};
use url::Url;

use super::cache::Cache;
use super::{Location, choose_tls_provider};
use crate::DataError;

/// Length of a block.
const BLOCK: u64 = 1 << 20;
/// Blocks that are asked for ahead of a reader that goes from one to the next.
const AHEAD: u64 = 4;

/// A remote file of known length.
#[derive(Clone, Debug)]
pub(super) struct Object {
    store: Store,
    path: PathBuf,
    size: u64,
    /// Names this version of the file in the cache.
    version: Arc<str>,
}

/// A file or folder of a store.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) key: Key,
}

/// Where requests are made.
static REQUESTS: LazyLock<Result<Handle, String>> = LazyLock::new(|| {
    choose_tls_provider();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("deem-storage".into())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .map_err(|error| error.to_string())?;
    Ok(handle)
});

static CACHE: LazyLock<Cache> = LazyLock::new(Cache::from_env);

/// Keys of blocks that were asked for ahead of time and are not here yet.
static COMING: LazyLock<(Mutex<HashSet<String>>, Condvar)> = LazyLock::new(Default::default);

/// Waits for a block that was asked for ahead of time.
fn wait_for(key: &str) {
    let (coming, changed) = &*COMING;
    let coming = coming.lock().unwrap_or_else(PoisonError::into_inner);
    drop(changed.wait_while(coming, |coming| coming.contains(key)));
}

/// Stores by what addresses have in common, so that connections are kept.
static STORES: LazyLock<Mutex<HashMap<String, Arc<dyn ObjectStore>>>> =
    LazyLock::new(Mutex::default);

impl Store {
    /// What lies at an address, or why there is no such store.
    pub(super) fn of(location: &Location) -> Result<Self, String> {
        let Location::Remote(url) = location else {
            return Err("it lies on this machine".into());
        };
        // Clients are made with the provider of TLS that is installed there.
        REQUESTS.as_ref().map_err(String::clone)?;
        let (scheme, key) = ObjectStoreScheme::parse(url).map_err(|e| e.to_string())?;
        // Of an account's address the first part of the path names the store.
        let bucket = match (
            scheme,
            url.path_segments().and_then(|mut parts| parts.next()),
        ) {
            (ObjectStoreScheme::Http, _) | (_, None) => "",
            (_, Some(first)) if url.scheme() == "https" => first,
            _ => "",
        };
        let shared = format!("{}/{bucket}", &url[..url::Position::BeforePath]);
        let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(&shared) {
            let store = store.clone();
            return Ok(Self { store, key });
        }
        let (store, key) =
            object_store::parse_url_opts(url, options(url)).map_err(|e| e.to_string())?;
        let store: Arc<dyn ObjectStore> = store.into();
        stores.insert(shared, store.clone());
        Ok(Self { store, key })
    }
}

/// What the environment says of stores (`AWS_…`, `GOOGLE_…`, `AZURE_…`, as their own programs read them).
fn options(url: &Url) -> Vec<(String, String)> {
    let known = ["AWS_", "GOOGLE_", "AZURE_"];
    let mut options: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(key, _)| known.iter().any(|start| key.starts_with(start)))
        .collect();
    let plain = options
        .iter()
        .any(|(key, value)| key.contains("ENDPOINT") && value.starts_with("http://"));
    if plain || url.scheme() == "http" {
        options.push(("allow_http".into(), "true".into()));
    }
    options
}

/// What opens the stores of a scheme: variables of which one has to be there, and what to do without.
static CREDENTIALS: [(&[&str], &[&str], &str); 3] = [
    (
        &["s3", "s3a"],
        &[
            "AWS_ACCESS_KEY_ID",
            "AWS_SKIP_SIGNATURE",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ],
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for what anybody may read",
    ),
    (
        &["gs"],
        &[
            "GOOGLE_SERVICE_ACCOUNT",
            "GOOGLE_SERVICE_ACCOUNT_PATH",
            "GOOGLE_SERVICE_ACCOUNT_KEY",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_SKIP_SIGNATURE",
        ],
        "set GOOGLE_APPLICATION_CREDENTIALS, or GOOGLE_SKIP_SIGNATURE=true for what anybody may read",
    ),
    (
        &["az", "abfs", "abfss"],
        &[
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_ACCESS_KEY",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_CLIENT_ID",
            "AZURE_SKIP_SIGNATURE",
        ],
        "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_SKIP_SIGNATURE=true for what anybody may read",
    ),
];

/// What to do about a store that refuses, where the environment says nothing that would open it.
fn advice(scheme: &str, is_set: impl Fn(&str) -> bool) -> Option<&'static str> {
    let (_, variables, advice) = CREDENTIALS
        .iter()
        .find(|(schemes, ..)| schemes.contains(&scheme))?;
    let known = variables.iter().any(|variable| is_set(variable));
    (!known).then_some(*advice)
}

/// A failure, and what to do about it if no credentials are known.
pub(super) fn advised(location: &Location, cause: io::Error) -> io::Error {
    let scheme = match location {
        Location::Remote(url) => url.scheme(),
        Location::Local(_) => return cause,
    };
    // What is not there is no question of credentials.
    if cause.kind() == io::ErrorKind::NotFound {
        return cause;
    }
    match advice(scheme, |variable| std::env::var_os(variable).is_some()) {
        Some(advice) => io::Error::new(
            cause.kind(),
            format!("no credentials in the environment: {advice} ({cause})"),
        ),
        None => cause,
    }
}

/// Runs a request on the thread of requests.
pub(super) fn wait<T: Send + 'static>(
    request: impl Future<Output = Result<T, object_store::Error>> + Send + 'static,
) -> io::Result<T> {
    let handle = REQUESTS
        .as_ref()
        .map_err(|e| io::Error::other(e.as_str()))?;
    let (sender, receiver) = mpsc::sync_channel(1);
    handle.spawn(async move {
        let _ = sender.send(request.await);
    });
    let answer = receiver
        .recv()
        .map_err(|_| io::Error::other("the request was given up"))?;
    answer.map_err(io::Error::from)
}

/// A small file as a whole; `admit` says whether one of this length is wanted.
///
/// # Errors
/// `Io` naming the address; what `admit` says.
pub(super) fn whole(
    location: &Location,
    admit: impl Fn(u64) -> Result<(), DataError>,
) -> Result<Vec<u8>, DataError> {
    let object = Object::find(location)?;
    admit(object.size)?;
    let mut bytes = Vec::with_capacity(object.size as usize);
    object
        .open()
        .read_to_end(&mut bytes)
        .map_err(|e| DataError::io(&object.path, e))?;
    Ok(bytes)
}

impl Object {
    /// Asks for a file.
    ///
    /// # Errors
    /// `Io` naming the address.
    pub fn find(location: &Location) -> Result<Self, DataError> {
        let path = PathBuf::from(location.to_string());
        let failed = |cause| DataError::io(&path, cause);
        let store = Store::of(location).map_err(|reason| failed(io::Error::other(reason)))?;
        let asked = store.clone();
        let meta = wait(async move { asked.store.head(&asked.key).await })
            .map_err(|cause| failed(advised(location, cause)))?;
        let changed = meta.last_modified.timestamp();
        let version = meta.e_tag.unwrap_or_else(|| changed.to_string());
        Ok(Self {
            version: format!("{location} {version} {}", meta.size).into(),
            size: meta.size,
            store,
            path,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn open(&self) -> ObjectReader {
        ObjectReader {
            object: self.clone(),
            at: 0,
            block: None,
        }
    }

    fn key(&self, block: u64) -> String {
        format!("{} {BLOCK} {block}", self.version)
    }

    fn range(&self, block: u64) -> std::ops::Range<u64> {
        block * BLOCK..self.size.min((block + 1) * BLOCK)
    }

    fn block(&self, number: u64) -> io::Result<Vec<u8>> {
        let range = self.range(number);
        let length = range.end - range.start;
        let key = self.key(number);
        wait_for(&key);
        if let Some(bytes) = CACHE.get(&key, length) {
            return Ok(bytes);
        }
        let store = self.store.clone();
        let bytes = wait(async move { store.store.get_range(&store.key, range).await })?;
        if bytes.len() as u64 != length {
            let found = format!("expected {length} bytes, received {}", bytes.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, found));
        }
        CACHE.put(&key, &bytes);
        Ok(bytes.into())
    }

    /// Asks for the blocks behind one, without waiting for them.
    fn ahead(&self, number: u64) {
        let Ok(handle) = REQUESTS.as_ref() else {
            return;
        };
        if !CACHE.keeps(BLOCK) {
            return;
        }
        for block in number + 1..=number + AHEAD {
            let (range, key) = (self.range(block), self.key(block));
            let (coming, changed) = &*COMING;
            let known = || coming.lock().unwrap_or_else(PoisonError::into_inner);
            if range.start >= self.size || CACHE.has(&key) || !known().insert(key.clone()) {
                continue;
            }
            let store = self.store.clone();
            handle.spawn(async move {
                // A failure is met again, and told, when the block is read.
                if let Ok(bytes) = store.store.get_range(&store.key, range).await {
                    CACHE.put(&key, &bytes);
                }
                known().remove(&key);
                changed.notify_all();
            });
        }
    }
}

/// Reads an [`Object`]; holds one block.
#[derive(Debug)]
pub struct ObjectReader {
    object: Object,
    at: u64,
    block: Option<(u64, Vec<u8>)>,
}

impl Read for ObjectReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.object.size || into.is_empty() {
            return Ok(0);
        }
        let number = self.at / BLOCK;
        let held = self.block.as_ref().map(|(held, _)| *held);
        if held != Some(number) {
            let bytes = self.object.block(number)?;
            if number > 0 && held == Some(number - 1) {
                self.object.ahead(number);
            }
            self.block = Some((number, bytes));
        }
        let (_, bytes) = self.block.as_ref().expect("it was just set");
        let rest = &bytes[(self.at - number * BLOCK) as usize..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for ObjectReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.object.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_without_credentials_says_which_are_read() {
        let none = |_: &str| false;
        assert!(advice("s3", none).unwrap().contains("AWS_SKIP_SIGNATURE"));
        assert!(advice("gs", none).unwrap().contains("GOOGLE_"));
        assert!(advice("abfss", none).unwrap().contains("AZURE_"));
        assert_eq!(advice("https", none), None);
        assert_eq!(advice("s3", |name| name == "AWS_ACCESS_KEY_ID"), None);
    }
}
