//! A web server for tests of what is read from the network; also the command line's.

use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A web server of a folder that knows ranges.
pub struct Server {
    /// `http://` and its host and port.
    pub address: String,
    /// Requests, as `GET /path bytes=0-9`.
    log: Arc<Mutex<Vec<String>>>,
    /// How many of the next requests fail.
    pub failures: Arc<AtomicUsize>,
}

impl Server {
    /// Serves a folder until the program ends.
    pub fn of(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            log: Arc::default(),
            failures: Arc::default(),
        };
        let (folder, log) = (folder.to_owned(), server.log.clone());
        let failures = server.failures.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (folder, log, failures) = (folder.clone(), log.clone(), failures.clone());
                std::thread::spawn(move || {
                    let _ = answer(stream.unwrap(), &folder, &log, &failures);
                });
            }
        });
        server
    }

    /// What was asked for since the last time.
    pub fn asked(&self, method: &str) -> Vec<String> {
        let log = std::mem::take(&mut *self.log.lock().unwrap());
        log.into_iter()
            .filter(|line| line.starts_with(method))
            .collect()
    }
}

fn answer(
    stream: TcpStream,
    folder: &Path,
    log: &Mutex<Vec<String>>,
    failures: &AtomicUsize,
) -> std::io::Result<()> {
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
    let failing = failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
    if failing.is_ok() {
        return write!(
            stream,
            "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
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
