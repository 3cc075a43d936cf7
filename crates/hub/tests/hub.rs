//! Against a small HTTP server on this machine, with a cache of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use deem_hub::{Hub, HubError, Repository, Wanted};
use sha2::{Digest, Sha256};

/// A hub with one repository. Requests are kept; a body may break off once.
#[derive(Clone)]
struct Server {
    url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    listing: String,
    requests: Vec<String>,
    /// Ends the next long body after this many bytes.
    break_after: Option<usize>,
    status: u16,
}

impl Server {
    fn start(files: &[(&str, &[u8])]) -> Self {
        let files: BTreeMap<String, Vec<u8>> = files
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()))
            .collect();
        let siblings: Vec<String> = files
            .iter()
            .map(|(name, bytes)| {
                let sum: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
                let size = bytes.len();
                format!(r#"{{"rfilename": "{name}", "size": {size}, "lfs": {{"sha256": "{sum}", "size": {size}}}}}"#)
            })
            .collect();
        let listing = format!(
            r#"{{"sha": "c0ffee", "siblings": [{}]}}"#,
            siblings.join(",")
        );
        let state = State {
            files,
            listing,
            status: 200,
            ..State::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            state: Arc::new(Mutex::new(state)),
        };
        let own = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                own.answer(stream);
            }
        });
        server
    }

    fn answer(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut request = String::new();
        while reader.read_line(&mut request).unwrap_or(0) > 2 {}
        let mut state = self.state.lock().unwrap();
        state.requests.push(request.clone());
        let path = request
            .split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        let name = path.strip_prefix("/o/m/resolve/c0ffee/");
        let (status, body) = match name {
            _ if state.status != 200 => (state.status, Vec::new()),
            None if path.starts_with("/api/models/o/m/revision/main") => {
                (200, state.listing.clone().into_bytes())
            }
            None => (404, Vec::new()),
            Some(name) => {
                let bytes = &state.files[name];
                let from = request
                    .lines()
                    .find_map(|line| {
                        line.to_lowercase()
                            .strip_prefix("range: bytes=")
                            .map(str::to_owned)
                    })
                    .map(|range| range.trim_end_matches('-').parse::<usize>().unwrap());
                match from {
                    Some(from) if from > bytes.len() => (416, Vec::new()),
                    Some(from) => (206, bytes[from..].to_vec()),
                    None => (200, bytes.clone()),
                }
            }
        };
        let length = body.len();
        let sent = match name.and_then(|_| state.break_after.take()) {
            Some(count) => &body[..count],
            None => &body[..],
        };
        let head =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        let _ = stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(sent));
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

fn hub(cache: &Path, endpoints: &[&Server]) -> Hub {
    let urls = endpoints.iter().map(|server| server.url.clone()).collect();
    Hub::new(cache.into(), urls, Some("secret".into()))
}

fn fetch(hub: &Hub, name: &str) -> Result<std::path::PathBuf, HubError> {
    let name = Repository::parse(name).unwrap().unwrap();
    let json = |names: &[String]| {
        let wanted = names
            .iter()
            .filter(|name| name.ends_with(".json") || name.ends_with(".bin"));
        wanted.cloned().collect()
    };
    // `index.json` names further files, a line each.
    let named = |folder: &Path, chosen: &[String]| {
        let index = chosen.iter().find(|name| *name == "index.json");
        let text = index.and_then(|name| std::fs::read_to_string(folder.join(name)).ok());
        let text = text.unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let wanted = Wanted {
        choose: &json,
        named: &named,
        expected: "a .json file",
    };
    hub.folder(&name, &wanted, &mut |_, _, _| {})
}

const FILES: &[(&str, &[u8])] = &[
    ("config.json", b"{}"),
    ("readme.md", b"no"),
    ("unet/config.json", b"{\"a\": 1}"),
];

#[test]
fn only_what_is_chosen_arrives_and_only_once() {
    let server = Server::start(FILES);
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(cache.path(), &[&server]);
    let folder = fetch(&hub, "hf://o/m").unwrap();
    assert!(folder.ends_with("models--o--m/snapshots/c0ffee"));
    assert_eq!(std::fs::read(folder.join("config.json")).unwrap(), b"{}");
    assert_eq!(
        std::fs::read(folder.join("unet/config.json")).unwrap(),
        FILES[2].1
    );
    assert!(!folder.join("readme.md").exists());
    let requests = server.requests();
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(
        requests[0]
            .to_lowercase()
            .contains("authorization: bearer secret")
    );

    assert_eq!(fetch(&hub, "hf://o/m").unwrap(), folder);
    assert_eq!(fetch(&hub, "hf://o/m/unet").unwrap(), folder.join("unet"));
    assert!(server.requests().is_empty(), "everything was in the cache");
    std::fs::remove_file(folder.join("unet/config.json")).unwrap();
    fetch(&hub, "hf://o/m").unwrap();
    assert_eq!(server.requests().len(), 2, "the list and the missing file");
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let long: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
    let server = Server::start(&[("w.bin", &long)]);
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(cache.path(), &[&server]);
    server.state.lock().unwrap().break_after = Some(100_000);
    let error = fetch(&hub, "hf://o/m").unwrap_err().to_string();
    assert!(error.contains("100000 bytes"), "{error}");
    server.requests();
    let folder = fetch(&hub, "hf://o/m").unwrap();
    assert_eq!(std::fs::read(folder.join("w.bin")).unwrap(), long);
    let requests = server.requests().join("").to_lowercase();
    assert!(requests.contains("range: bytes=100000-"), "{requests}");
}

/// A remainder longer than the file, which the server refuses to go on from.
#[test]
fn a_download_that_cannot_go_on_begins_again() {
    let server = Server::start(&[("w.bin", b"good")]);
    let cache = tempfile::tempdir().unwrap();
    let snapshot = cache.path().join("models--o--m/snapshots/c0ffee");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::write(snapshot.join("w.bin.incomplete"), b"longer").unwrap();
    let folder = fetch(&hub(cache.path(), &[&server]), "hf://o/m").unwrap();
    assert_eq!(std::fs::read(folder.join("w.bin")).unwrap(), b"good");
}

#[test]
fn what_arrives_must_be_what_was_announced() {
    let server = Server::start(&[("w.bin", b"good")]);
    server
        .state
        .lock()
        .unwrap()
        .files
        .insert("w.bin".into(), b"evil".to_vec());
    let cache = tempfile::tempdir().unwrap();
    let error = fetch(&hub(cache.path(), &[&server]), "hf://o/m").unwrap_err();
    assert!(matches!(&error, HubError::Damaged { .. }), "{error}");
    let left = cache.path().join("models--o--m/snapshots/c0ffee/w.bin");
    assert!(!left.exists());
}

#[test]
fn mirrors_are_asked_in_turn_and_refusals_say_what_to_do() {
    let (gone, mirror) = (Server::start(&[]), Server::start(FILES));
    gone.state.lock().unwrap().status = 404;
    let cache = tempfile::tempdir().unwrap();
    let folder = fetch(&hub(cache.path(), &[&gone, &mirror]), "hf://o/m").unwrap();
    assert!(folder.join("config.json").is_file());

    mirror.state.lock().unwrap().status = 401;
    let empty = tempfile::tempdir().unwrap();
    let error = fetch(&hub(empty.path(), &[&gone, &mirror]), "hf://o/m")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("HF_TOKEN") && error.contains("mirror"),
        "{error}"
    );
    assert!(
        error.contains(&gone.url) && error.contains(&mirror.url),
        "{error}"
    );
}

#[test]
fn offline_uses_the_cache_alone_also_one_that_others_filled() {
    let server = Server::start(FILES);
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(cache.path(), &[&server]).offline(true);
    let error = fetch(&hub, "hf://o/m").unwrap_err().to_string();
    assert!(
        error.contains("--offline") && error.contains("models--o--m"),
        "{error}"
    );

    let repository = cache.path().join("models--o--m");
    let snapshot = repository.join("snapshots/abc");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(repository.join("refs")).unwrap();
    std::fs::write(repository.join("refs/main"), "abc").unwrap();
    std::fs::write(snapshot.join("notes.txt"), "").unwrap();
    let error = fetch(&hub, "hf://o/m").unwrap_err().to_string();
    assert!(
        error.contains("in the cache: none of its files will do"),
        "{error}"
    );
    std::fs::write(snapshot.join("config.json"), "{}").unwrap();
    assert_eq!(fetch(&hub, "hf://o/m").unwrap(), snapshot);
    assert_eq!(fetch(&hub, "hf://o/m@abc").unwrap(), snapshot);
    assert!(server.requests().is_empty());
}

/// Another program's download broke off: the index is there, and one of its two shards.
#[test]
fn what_an_index_names_is_brought_too() {
    let files: [(&str, &[u8]); 3] = [
        ("index.json", b"1.shard\n2.shard"),
        ("1.shard", b"one"),
        ("2.shard", b"two"),
    ];
    let server = Server::start(&files);
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(cache.path(), &[&server]);
    let repository = cache.path().join("models--o--m");
    let snapshot = repository.join("snapshots/c0ffee");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(repository.join("refs")).unwrap();
    std::fs::write(repository.join("refs/main"), "c0ffee").unwrap();
    for (name, content) in &files[..2] {
        std::fs::write(snapshot.join(name), content).unwrap();
    }
    let error = fetch(&hub.clone().offline(true), "hf://o/m").unwrap_err();
    assert!(
        matches!(&error, HubError::Incomplete { missing, .. } if *missing == ["2.shard"]),
        "{error}"
    );
    assert_eq!(fetch(&hub, "hf://o/m").unwrap(), snapshot);
    assert_eq!(std::fs::read(snapshot.join("2.shard")).unwrap(), b"two");
    assert_eq!(server.requests().len(), 2, "the list and the missing file");
    fetch(&hub.offline(true), "hf://o/m").unwrap();

    let lacking = Server::start(&files[..2]);
    let empty = tempfile::tempdir().unwrap();
    let hub = Hub::new(empty.path().into(), vec![lacking.url.clone()], None);
    let error = fetch(&hub, "hf://o/m").unwrap_err().to_string();
    assert!(error.contains("2.shard, which an index names"), "{error}");
}

#[test]
fn hostile_lists_are_refused() {
    let server = Server::start(&[("../../evil.json", b"x")]);
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(cache.path(), &[&server]);
    let error = fetch(&hub, "hf://o/m").unwrap_err().to_string();
    assert!(error.contains("evil.json"), "{error}");
    server.state.lock().unwrap().listing = r#"{"sha": "../x", "siblings": []}"#.into();
    let error = fetch(&hub, "hf://o/m").unwrap_err().to_string();
    assert!(error.contains("commit"), "{error}");
    server.state.lock().unwrap().listing = "<html>".into();
    let error = fetch(&hub, "hf://o/m").unwrap_err().to_string();
    assert!(error.contains("no list of files"), "{error}");
    server.state.lock().unwrap().listing = r#"{"sha": "c0ffee", "siblings": []}"#.into();
    let error = fetch(&hub, "hf://o/m").unwrap_err();
    assert!(matches!(&error, HubError::Lacking { .. }), "{error}");
}
