//! Public sets, fetched from a web server.

use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::{deem, succeeds};

/// A web server of a folder that knows ranges.
struct Server {
    address: String,
    /// Requests, as `GET /path bytes=0-9`.
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn of(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            log: Arc::default(),
        };
        let (folder, log) = (folder.to_owned(), server.log.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = answer(stream.unwrap(), &folder, &log);
            }
        });
        server
    }

    /// What was asked for since the last time.
    fn asked(&self, method: &str) -> Vec<String> {
        let log = std::mem::take(&mut *self.log.lock().unwrap());
        log.into_iter()
            .filter(|line| line.starts_with(method))
            .collect()
    }
}

fn answer(stream: TcpStream, folder: &Path, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut range = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("range: bytes=") {
            range = Some(value.trim().to_owned());
        }
    }
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let told = range
        .as_ref()
        .map_or(String::new(), |range| format!(" bytes={range}"));
    log.lock().unwrap().push(format!("{method} {path}{told}"));
    let mut stream = stream;
    let Ok(mut file) = fs::File::open(folder.join(path.trim_start_matches('/'))) else {
        return write!(
            stream,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    };
    let size = file.metadata()?.len();
    let (from, to) = match &range {
        Some(range) => {
            let (from, to) = range.split_once('-').unwrap();
            let to: u64 = to.parse().unwrap_or(size - 1);
            (from.parse().unwrap(), to.min(size - 1) + 1)
        }
        None => (0, size),
    };
    let status = if range.is_some() {
        format!(
            "206 Partial Content\r\nContent-Range: bytes {from}-{}/{size}",
            to - 1
        )
    } else {
        "200 OK".into()
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"{size}\"\r\nConnection: close\r\n\r\n",
        to - from
    )?;
    if method == "GET" {
        file.seek(SeekFrom::Start(from))?;
        std::io::copy(&mut file.take(to - from), &mut stream)?;
    }
    Ok(())
}

#[test]
fn public_sets_are_shown_fetched_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    fs::create_dir_all(folder.join("www/zips")).unwrap();
    fs::write(folder.join("www/zips/a.zip"), &content).unwrap();
    let server = Server::of(&folder.join("www"));
    let sets = |sum: &str| {
        let text = format!(
            "[[sets]]\nname = \"made\"\nabout = \"made up\"\nlicence = \"CC0\"\n\
             files = [{{ url = \"http://nowhere.invalid/zips/a.zip\", sha256 = \"{sum}\" }}]\n"
        );
        fs::write(folder.join("sets.toml"), text).unwrap();
    };
    sets("00");
    let fetch = |more: &[&str]| {
        let all = [
            "data",
            "fetch",
            "made",
            "--sets",
            "sets.toml",
            "--mirror",
            &server.address,
        ];
        let output = deem(&[&all[..], more].concat(), folder);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.success(),
            told,
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (fine, told, _) = fetch(&["--dry-run"]);
    assert!(fine, "{told}");
    for shown in ["CC0", "/zips/a.zip", "1.2 MB", "SHA-256 00"] {
        assert!(told.contains(shown), "{told}");
    }
    assert!(!folder.join("made").exists());
    let (fine, told, _) = fetch(&[]);
    assert!(!fine && told.contains("announced SHA-256 00"), "{told}");
    assert!(!folder.join("made/a.zip").exists());
    let sum = told
        .rsplit("received ")
        .next()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    sets(&sum);
    // Half of it is there from an earlier try.
    fs::write(folder.join("made/a.zip.incomplete"), &content[..500_000]).unwrap();
    server.asked("");
    let (fine, told, out) = fetch(&[]);
    assert!(fine, "{told}");
    assert!(out.starts_with(&sum) && out.contains("a.zip"), "{out}");
    assert!(fs::read(folder.join("made/a.zip")).unwrap() == content);
    assert!(server.asked("GET")[0].contains("bytes=500000-"));
    let listed = succeeds(&["data", "fetch"], folder);
    assert!(
        listed.contains("coco-annotations") && listed.contains("emoji"),
        "{listed}"
    );
}
