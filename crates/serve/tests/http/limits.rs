//! What is too much, malformed or somewhere else.

use std::time::Duration;

use deem_serve::{Event, Options, Submitted, Usage};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fake::{Fake, json as read, picture};

fn error(told: &Value) -> (&str, &str) {
    let error = &told["error"];
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty()),
        "{told}"
    );
    assert!(error.get("param").is_some(), "{told}");
    (
        error["type"].as_str().unwrap(),
        error["code"].as_str().unwrap_or_default(),
    )
}

#[tokio::test]
async fn every_refusal_is_an_error_object() {
    let fake = Fake::start(Options {
        max_body: 2000,
        ..Options::default()
    })
    .await;
    let chat = format!("{}/v1/chat/completions", fake.url);
    let send = async |kind: Option<&str>, body: String| {
        let request = fake.client.post(&chat).body(body);
        let request = match kind {
            Some(kind) => request.header("content-type", kind),
            None => request,
        };
        read(request.send().await.unwrap()).await
    };
    let json = Some("application/json; charset=utf-8");
    for (kind, body, status, code) in [
        (json, "{", 400, "invalid_json"),
        (json, "", 400, "invalid_json"),
        (json, "[]", 400, "invalid_json"),
        (json, "{}", 400, ""),
        (Some("text/plain"), "{}", 415, "unsupported_media_type"),
        (None, "{}", 415, "unsupported_media_type"),
    ] {
        let (found, told) = send(kind, body.to_owned()).await;
        assert_eq!(found, status, "{kind:?} {body}: {told}");
        assert_eq!(error(&told), ("invalid_request_error", code), "{body}");
    }
    let deep = "[".repeat(1000);
    assert_eq!(send(json, deep).await.0, 400);
    let (status, told) = send(json, "x".repeat(2001)).await;
    assert_eq!(status, 413);
    assert!(
        told["error"]["message"]
            .as_str()
            .unwrap()
            .contains("--max-body"),
        "{told}"
    );
    let (status, told) = read(fake.get("/v1/chat/completions").await).await;
    assert_eq!((status, error(&told).1), (405, "method_not_allowed"));
    for path in [
        "/v1/nothing",
        "/nothing",
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
    ] {
        let (status, told) = read(fake.get(path).await).await;
        assert_eq!((status, error(&told).1), (404, "not_found"), "{path}");
    }
    let (status, told) = read(fake.get("/v1/models/nothing").await).await;
    assert_eq!((status, error(&told).1), (404, "model_not_found"));
    assert!(fake.jobs.lock().unwrap().is_empty());
    fake.end().await;
}

#[tokio::test]
async fn hostile_pictures_are_refused() {
    let fake = Fake::start(Options {
        max_pixels: 100,
        ..Options::default()
    })
    .await;
    for (url, part) in [
        (picture(11, 10), "--max-megapixels"),
        ("file:///etc/passwd".into(), "reads no file"),
        ("http://127.0.0.1/a.png".into(), "--allow-fetch"),
        ("data:image/png;base64,iVBORw0KGgo=".into(), "picture 1"),
        ("data:image/svg+xml;base64,PHN2Zy8+".into(), "picture 1"),
    ] {
        let content = json!([{ "type": "text", "text": "?" }, { "type": "image_url", "image_url": { "url": url } }]);
        let body = json!({ "messages": [{ "role": "user", "content": content }] });
        let (status, told) = fake.ask("/v1/chat/completions", &body).await;
        assert_eq!(status, 400, "{url}: {told}");
        assert!(
            told["error"]["message"].as_str().unwrap().contains(part),
            "{told}"
        );
        assert_eq!(told["error"]["param"], "messages[0].content[1]");
    }
    fake.end().await;
}

#[tokio::test]
async fn a_full_queue_and_a_rate() {
    fn slow(submitted: Submitted) {
        std::thread::sleep(Duration::from_millis(1200));
        let _ = submitted.events.send(Event::Scores(vec![]));
        let _ = submitted.events.send(Event::Done(Usage::default()));
    }
    let score = json!({ "messages": [{ "role": "user", "content": "a" }], "answers": ["b"] });
    let one = Options {
        queue: 1,
        ..Options::default()
    };
    let fake = Fake::with(one, slow).await;
    let (first, second) = tokio::join!(fake.post("/v1/score", &score), async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        fake.post("/v1/score", &score).await
    });
    assert_eq!(
        (first.status().as_u16(), second.status().as_u16()),
        (200, 429)
    );
    assert!(second.headers().contains_key("retry-after"));
    assert_eq!(
        error(&read(second).await.1),
        ("rate_limit_error", "queue_full")
    );
    fake.end().await;

    let fake = Fake::start(Options {
        rate: Some(2),
        ..Options::default()
    })
    .await;
    for status in [200, 200, 429] {
        assert_eq!(fake.get("/v1/models").await.status(), status);
    }
    let limited = fake.get("/v1/models").await;
    let after: u64 = limited.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=30).contains(&after), "{after}");
    assert_eq!(error(&read(limited).await.1).1, "rate_limit_exceeded");
    assert_eq!(fake.get("/health").await.status(), 200);
    fake.end().await;
}

#[tokio::test]
async fn slow_clients_are_not_waited_for() {
    let fake = Fake::start(Options {
        patience: Duration::from_millis(200),
        ..Options::default()
    })
    .await;
    let address = fake.url.strip_prefix("http://").unwrap().to_owned();
    let talk = async |sent: &str| {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut told = String::new();
        let read = stream.read_to_string(&mut told);
        tokio::time::timeout(Duration::from_secs(5), read)
            .await
            .unwrap()
            .unwrap();
        told
    };
    let head = "POST /v1/score HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{";
    let told = talk(head).await;
    assert!(told.starts_with("HTTP/1.1 408"), "{told}");
    assert!(told.contains("--patience"), "{told}");
    let told = talk("GET /v1/models HTTP/1.1\r\nhost: loc").await;
    assert!(!told.contains("200 OK"), "{told}");
    fake.end().await;
}
