//! Asking one hub: what a repository holds, and its files, resumed where a download broke off.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use ureq::{Agent, Body, http::Response};

use crate::hub::Progress;
use crate::name::is_inside;
use crate::{HubError, Repository};

const CHUNK: usize = 1 << 20;
/// Largest answer to a question for a repository's files.
const LISTING_LIMIT: u64 = 64 << 20;

/// What a repository holds at a commit.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listing {
    #[serde(rename = "sha")]
    pub(crate) commit: String,
    #[serde(rename = "siblings")]
    pub(crate) files: Vec<RemoteFile>,
}

/// One file of a repository.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RemoteFile {
    #[serde(rename = "rfilename")]
    pub(crate) name: String,
    size: Option<u64>,
    /// Large files come with a checksum.
    lfs: Option<Large>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Large {
    sha256: Option<String>,
}

impl Listing {
    /// A list that was kept.
    pub(crate) fn saved(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Names of the files in the folder that `name` means.
    pub(crate) fn below(&self, name: &Repository) -> Vec<String> {
        let files = self.files.iter();
        files
            .filter_map(|file| name.below(&file.name))
            .map(str::to_owned)
            .collect()
    }
}

/// One hub.
pub(crate) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

impl Client {
    pub(crate) fn new(endpoint: &str, token: Option<&str>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("deem/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(Duration::from_secs(20)))
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .build();
        Self {
            agent: config.new_agent(),
            endpoint: endpoint.into(),
            token: token.map(str::to_owned),
        }
    }

    /// The files of a repository, or why this hub does not tell.
    pub(crate) fn list(&self, name: &Repository) -> Result<Listing, String> {
        let Repository { id, revision, .. } = name;
        let url = format!(
            "{}/api/models/{id}/revision/{}?blobs=true",
            self.endpoint,
            revision.replace('/', "%2F")
        );
        let response = self.get(&url, 0)?;
        let mut text = String::new();
        let mut body = response.into_body().into_reader().take(LISTING_LIMIT);
        body.read_to_string(&mut text).map_err(|e| e.to_string())?;
        let listing: Listing = serde_json::from_str(&text)
            .map_err(|error| format!("its answer is no list of files ({error})"))?;
        let commit = &listing.commit;
        if commit.is_empty() || !commit.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(format!("its answer names no commit: {commit:?}"));
        }
        match listing.files.iter().find(|file| !is_inside(&file.name)) {
            Some(file) => Err(format!("its list holds a file outside: {:?}", file.name)),
            None => Ok(listing),
        }
    }

    /// Brings a file of a commit to `target`, unless it is there. It appears whole or not at all.
    pub(crate) fn download(
        &self,
        name: &Repository,
        commit: &str,
        file: &RemoteFile,
        target: &Path,
        progress: Progress,
    ) -> Result<(), HubError> {
        let url = format!(
            "{}/{}/resolve/{commit}/{}",
            self.endpoint, name.id, file.name
        );
        self.bring(&url, file, target, progress)
    }

    /// Brings a file to `target`, unless it is there. It appears whole or not at all.
    fn bring(
        &self,
        url: &str,
        file: &RemoteFile,
        target: &Path,
        progress: Progress,
    ) -> Result<(), HubError> {
        if target.is_file() {
            return Ok(());
        }
        let folder = target.parent().unwrap_or(target);
        fs::create_dir_all(folder).map_err(HubError::io(folder))?;
        let mut part = target.as_os_str().to_owned();
        part.push(".incomplete");
        let part = Path::new(&part);
        tracing::info!("downloading {url}");
        let done = self.receive(url, file, part, progress)?;
        let damaged = |problem: String| {
            let _ = fs::remove_file(part);
            HubError::Damaged {
                url: url.to_owned(),
                problem,
            }
        };
        if let Some(size) = file.size.filter(|size| *size != done) {
            return Err(damaged(format!("announced {size} bytes, received {done}")));
        }
        if let Some(expected) = file.lfs.as_ref().and_then(|large| large.sha256.as_ref()) {
            let found = sha256(part).map_err(HubError::io(part))?;
            if found != *expected {
                return Err(damaged(format!(
                    "announced SHA-256 {expected}, received {found}"
                )));
            }
        }
        fs::rename(part, target).map_err(HubError::io(target))
    }

    /// Writes the rest of a file behind what an earlier try left; returns its length.
    fn receive(
        &self,
        url: &str,
        file: &RemoteFile,
        part: &Path,
        progress: Progress,
    ) -> Result<u64, HubError> {
        let refused = |cause: String| HubError::Refused {
            name: file.name.clone(),
            causes: vec![format!("{url}: {cause}")],
        };
        let io = |error| HubError::io(part)(error);
        let mut out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(part)
            .map_err(io)?;
        let mut done = out.seek(SeekFrom::End(0)).map_err(io)?;
        if file.size == Some(done) {
            return Ok(done);
        }
        let mut response = self.get(url, done).map_err(&refused)?;
        // What lies there is longer than the file: another file, or one that has changed.
        if response.status() == 416 {
            response = self.get(url, 0).map_err(&refused)?;
        }
        if response.status() != 206 {
            out.set_len(0).map_err(io)?;
            done = 0;
        }
        let total = file.size.unwrap_or(0);
        let mut body = response.into_body().into_reader();
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = body.read(&mut chunk).map_err(|error| {
                refused(format!(
                    "the connection broke after {done} bytes ({error}); the same command goes on there"
                ))
            })?;
            if count == 0 {
                break;
            }
            out.write_all(&chunk[..count]).map_err(io)?;
            done += count as u64;
            progress(&file.name, done, total);
        }
        out.sync_all().map_err(io)?;
        Ok(done)
    }

    fn get(&self, url: &str, from: u64) -> Result<Response<Body>, String> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        let response = request.call().map_err(|error| error.to_string())?;
        match response.status().as_u16() {
            200 | 206 => Ok(response),
            416 if from > 0 => Ok(response),
            status @ (401 | 403) => Err(format!(
                "{status}: it does not exist, or asks for a licence to be accepted; do that on its page and \
                 set HF_TOKEN to a token of yours"
            )),
            404 => Err(
                "404: it is not there (weights vanish: name a mirror in `[weights] mirrors`, or \
                        another repository or folder in `[weights]`)"
                    .into(),
            ),
            status => Err(format!("HTTP status {status}")),
        }
    }
}

/// A file anywhere on the web.
pub struct Remote {
    client: Client,
    url: String,
    file: RemoteFile,
}

impl Remote {
    /// The file at an address, with what its publisher says of it.
    pub fn new(url: String, size: Option<u64>, sha256: Option<String>) -> Self {
        let name = url.rsplit('/').next().unwrap_or_default().to_owned();
        let lfs = Some(Large { sha256 });
        Self {
            client: Client::new("", None),
            url,
            file: RemoteFile { name, size, lfs },
        }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its length in bytes: what its publisher says, or else its server.
    pub fn size(&self) -> Option<u64> {
        self.file.size.or_else(|| {
            let response = self.client.agent.head(&self.url).call().ok()?;
            let length = response.headers().get("content-length")?;
            length.to_str().ok()?.parse().ok()
        })
    }

    /// Brings it to `target`, unless it is there; goes on where an earlier try broke off. It appears whole or not at all.
    /// Returns its SHA-256.
    ///
    /// # Errors
    /// `Refused`, `Damaged`; `Io` naming a file.
    pub fn download(&self, target: &Path, progress: Progress) -> Result<String, HubError> {
        let size = self.size();
        let file = RemoteFile {
            name: self.file.name.clone(),
            size,
            lfs: self.file.lfs.clone(),
        };
        self.client.bring(&self.url, &file, target, progress)?;
        sha256(target).map_err(HubError::io(target))
    }
}

/// SHA-256 of a file, in hexadecimal; it is read piece by piece.
///
/// # Errors
/// If it cannot be read.
pub fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        hasher.update(&chunk[..count]);
    }
    let digest = hasher.finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
