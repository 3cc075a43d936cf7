//! Data elsewhere: behind a web server, and in an S3 server. What the environment says is read once a process, so that
//! this program runs itself for each question.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use deem_data::export::Format;
use deem_data::source::{SourceRegistry, Statistics};

use crate::support::server::Server;
use crate::support::{context, exported, python, spec};

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
    assert_eq!(here["looked_at"], 40);
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
