//! What browsers and monitors get.

use deem_serve::Options;

use super::fake::Fake;

#[tokio::test]
async fn pages_may_do_little() {
    let fake = Fake::start(Options::default()).await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/reference.js", "text/javascript; charset=utf-8"),
        ("/docs/reference.css", "text/css; charset=utf-8"),
        ("/openapi.json", "application/json"),
    ] {
        let response = fake.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], kind, "{path}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let policy = response.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        assert!(
            policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
    }
    fake.end().await;
}

#[tokio::test]
async fn monitors_are_told() {
    let fake = Fake::start(Options::default()).await;
    assert_eq!(fake.get("/health").await.text().await.unwrap(), "alive\n");
    assert_eq!(fake.get("/ready").await.text().await.unwrap(), "ready\n");
    assert!(
        fake.get("/v1/models")
            .await
            .headers()
            .contains_key("x-request-id")
    );
    let metrics = fake.get("/metrics").await;
    let kind = metrics.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = metrics.text().await.unwrap();
    assert!(
        text.contains("deem_http_requests_total{route=\"/v1/models\",status=\"200\"} 1"),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"));
    fake.end().await;
}
