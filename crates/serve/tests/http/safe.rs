//! Keys, hosts, origins, and an end in order.

use std::time::Duration;

use deem_serve::{Event, Options, Submitted, Usage};
use serde_json::json;

use super::fake::{Fake, json as read};

#[tokio::test]
async fn keys_are_asked_for() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "secret\n").unwrap();
    let keys = Some(file.path().to_owned());
    let fake = Fake::start(Options {
        keys,
        rate: Some(3),
        ..Options::default()
    })
    .await;
    let with = async |key: &str| {
        let request = fake.client.get(format!("{}/v1/models", fake.url));
        request
            .header("authorization", format!("Bearer {key}"))
            .send()
            .await
            .unwrap()
    };
    assert_eq!(with("secret").await.status(), 200);
    let (status, told) = read(with("other").await).await;
    assert_eq!(
        (status, &told["error"]["code"]),
        (401, &json!("invalid_api_key"))
    );
    assert_eq!(fake.get("/v1/models").await.status(), 401);
    assert_eq!(fake.get("/metrics").await.status(), 401);
    assert_eq!(
        with("guess").await.status(),
        429,
        "guesses are counted by address"
    );
    assert_eq!(with("secret").await.status(), 200, "and the key by itself");
    for open in ["/", "/docs", "/health", "/ready", "/openapi.json"] {
        assert_eq!(fake.get(open).await.status(), 200, "{open}");
    }
    fake.end().await;
}

#[tokio::test]
async fn pages_elsewhere_may_not_ask() {
    let fake = Fake::start(Options {
        cors: vec!["https://good.example".into()],
        ..Options::default()
    })
    .await;
    let models = format!("{}/v1/models", fake.url);
    let allowed = async |origin: &str| {
        let request = fake.client.get(&models).header("origin", origin);
        let response = request.send().await.unwrap();
        response
            .headers()
            .get("access-control-allow-origin")
            .cloned()
    };
    assert_eq!(
        allowed("https://good.example").await.unwrap(),
        "https://good.example"
    );
    for other in [
        "https://bad.example",
        "null",
        "https://good.example.bad.example",
    ] {
        assert_eq!(allowed(other).await, None, "{other}");
    }
    let preflight = async |origin: &str| {
        let request = fake.client.request(reqwest::Method::OPTIONS, &models);
        let request = request.header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        let request = request.header(
            "access-control-request-headers",
            "authorization,content-type",
        );
        request.send().await.unwrap()
    };
    let good = preflight("https://good.example").await;
    assert_eq!(good.status(), 204);
    assert_eq!(
        good.headers()["access-control-allow-headers"],
        "authorization,content-type"
    );
    let bad = preflight("https://bad.example").await;
    assert_eq!(bad.status(), 405);
    assert!(!bad.headers().contains_key("access-control-allow-methods"));
    let foreign = fake
        .client
        .get(&models)
        .header("host", "rebound.example:80");
    let (status, told) = read(foreign.send().await.unwrap()).await;
    assert_eq!(
        (status, &told["error"]["code"]),
        (403, &json!("foreign_host"))
    );
    fake.end().await;
}

#[tokio::test]
async fn requests_are_finished_before_the_end() {
    fn slow(submitted: Submitted) {
        std::thread::sleep(Duration::from_millis(1000));
        let _ = submitted.events.send(Event::Scores(vec![]));
        let _ = submitted.events.send(Event::Done(Usage::default()));
    }
    let score = json!({ "messages": [{ "role": "user", "content": "a" }], "answers": ["b"] });
    let fake = Fake::with(Options::default(), slow).await;
    let (client, url) = (fake.client.clone(), fake.url.clone());
    let request = client
        .post(format!("{url}/v1/score"))
        .header("content-type", "application/json");
    let asked = tokio::spawn(request.body(score.to_string()).send());
    tokio::time::sleep(Duration::from_millis(400)).await;
    fake.end().await;
    assert_eq!(asked.await.unwrap().unwrap().status(), 200);
    assert!(client.get(format!("{url}/health")).send().await.is_err());
}

#[tokio::test]
async fn what_takes_too_long_is_cut_off() {
    fn never(submitted: Submitted) {
        while !submitted.events.is_closed() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let score = json!({ "messages": [{ "role": "user", "content": "a" }], "answers": ["b"] });
    let fake = Fake::with(
        Options {
            grace: Duration::from_millis(100),
            ..Options::default()
        },
        never,
    )
    .await;
    let request = fake.client.post(format!("{}/v1/score", fake.url));
    let request = request
        .header("content-type", "application/json")
        .body(score.to_string());
    let asked = tokio::spawn(request.send());
    tokio::time::sleep(Duration::from_millis(100)).await;
    tokio::time::timeout(Duration::from_secs(5), fake.end())
        .await
        .unwrap();
    assert!(asked.await.unwrap().is_err());
}
