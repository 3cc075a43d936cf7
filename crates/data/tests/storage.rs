//! Data elsewhere: behind a web server, and in an S3 server. What the environment says is read once a process, so that
//! this program runs itself for each question.

use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deem_data::export::Format;
use deem_data::source::{SourceRegistry, Statistics};

use crate::support::{context, exported, python, spec};

/// A web server of a folder that knows ranges.
struct Server {
    address: String,
    /// Requests, as `GET /path bytes=0-9`.
    log: Arc<Mutex<Vec<String>>>,
    /// How many of the next requests fail.
    failures: Arc<AtomicUsize>,
}

impl Server {
    fn of(folder: &Path) -> Self {
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
    fn asked(&self, method: &str) -> Vec<String> {
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

/// What a process of its own says of a source.
#[test]
fn child() {
    let Ok(entry) = std::env::var("DEEM_TEST_ENTRY") else {
        return;
    };
    let folder = std::env::current_dir().unwrap();
    let opened = SourceRegistry::standard().open(&[spec(&entry)], &context(&folder, 1));
    match opened.map(|source| Statistics::of(&*source, 1000, None)) {
        Ok(figures) => println!("TOLD {}", serde_json::to_string(&figures).unwrap()),
        Err(error) => println!("TOLD {error}"),
    }
}

fn told(entry: &str, folder: &Path, environment: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "storage::child", "--nocapture"])
        .current_dir(folder)
        .env("DEEM_TEST_ENTRY", entry)
        .env("DEEM_CACHE", folder.join("cache"))
        .envs(environment.iter().copied())
        .output()
        .expect("the program starts");
    let text = String::from_utf8(output.stdout).unwrap();
    let told = text.split_once("TOLD ").expect("an answer").1;
    told.lines().next().unwrap().to_owned()
}

fn figures(entry: &str, folder: &Path, environment: &[(&str, &str)]) -> serde_json::Value {
    let told = told(entry, folder, environment);
    serde_json::from_str(&told).unwrap_or_else(|_| panic!("{entry}: {told}"))
}

fn shards(root: &str) -> String {
    format!(r#"{{"kind": "webdataset", "shards": "{root}/{{000000..000000}}.tar"}}"#)
}

#[test]
fn web_servers_are_read_in_pieces_and_the_pieces_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    exported(folder, "w", Format::Webdataset, "captions", 40);
    exported(folder, "c", Format::Captions, "captions", 6);
    let server = Server::of(folder);
    let here = figures(&shards("w"), folder, &[]);
    assert_eq!(here["read"], 40);
    let there = shards(&format!("{}/w", server.address));
    assert_eq!(figures(&there, folder, &[]), here);
    let asked = server.asked("GET");
    let ranges = asked.iter().all(|line| line.contains("bytes="));
    assert!(!asked.is_empty() && ranges, "{asked:?}");
    let mut once = asked.clone();
    once.sort();
    once.dedup();
    assert_eq!(
        once.len(),
        asked.len(),
        "a piece was asked for twice: {asked:?}"
    );
    // Now from the cache.
    assert_eq!(figures(&there, folder, &[]), here);
    assert_eq!(server.asked("GET"), Vec::<String>::new());
    // Without one, and from a server that fails at first.
    server.failures.store(2, Ordering::SeqCst);
    assert_eq!(figures(&there, folder, &[("DEEM_CACHE_GB", "0")]), here);
    assert!(!server.asked("GET").is_empty());
    // Records and pictures.
    let captions = |root: &str| {
        format!(
            r#"{{"kind": "captions", "file": "{root}/captions.jsonl", "images": "{root}/images/"}}"#
        )
    };
    let here = figures(&captions("c"), folder, &[]);
    assert_eq!(here["images"]["most"], 1);
    let there = captions(&format!("{}/c", server.address));
    assert_eq!(figures(&there, folder, &[]), here);

    let nowhere = format!("{}/nowhere", server.address);
    let error = told(&shards(&nowhere), folder, &[]);
    assert!(error.contains(&nowhere), "{error}");
}

/// A process that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_s3_server_is_read() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    exported(folder, "w", Format::Webdataset, "captions", 12);
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let _server = Process(
        Command::new(&python)
            .args([
                "-m",
                "moto.server",
                "-H",
                "127.0.0.1",
                "-p",
                &port.to_string(),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto starts"),
    );
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            started.elapsed() < Duration::from_secs(90),
            "moto does not answer"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    let endpoint = format!("http://127.0.0.1:{port}");
    let upload = format!(
        "import boto3\ns = boto3.client('s3', endpoint_url='{endpoint}', region_name='us-east-1', \
         aws_access_key_id='a', aws_secret_access_key='b')\n\
         s.create_bucket(Bucket='sets')\ns.upload_file('w/000000.tar', 'sets', 'a b/000000.tar')\n"
    );
    let done = Command::new(&python)
        .args(["-c", &upload])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let environment = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
    ];
    let there = figures(&shards("s3://sets/a b"), folder, &environment);
    assert_eq!(there, figures(&shards("w"), folder, &[]));
    let error = told(&shards("s3://sets/none"), folder, &environment);
    assert!(error.contains("s3://sets/none/000000.tar"), "{error}");
}
