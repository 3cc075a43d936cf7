//! Answers: whole, streamed, with pictures, of several.

use std::time::Duration;

use deem_serve::{Event, Job, Options, Submitted};
use serde_json::{Value, json};

use super::fake::{Fake, json as read, picture};

fn question() -> Value {
    json!({ "model": "fake", "messages": [{ "role": "user", "content": "Hi" }] })
}

fn with(more: Value) -> Value {
    let mut body = question();
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body
}

/// The data of a stream's events.
async fn events(fake: &Fake, path: &str, body: &Value) -> Vec<String> {
    let response = fake.post(path, body).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.unwrap();
    let data = text.split("\n\n").filter(|event| !event.is_empty());
    data.map(|event| event.strip_prefix("data: ").unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn an_answer() {
    let fake = Fake::start(Options::default()).await;
    let (status, body) = fake
        .ask("/v1/chat/completions", &with(json!({ "n": 2 })))
        .await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["model"], "fake");
    assert_eq!(body["choices"][1]["index"], 1);
    let message = json!({ "role": "assistant", "content": "hello world", "refusal": null });
    assert_eq!(body["choices"][1]["message"], message);
    assert_eq!(body["usage"]["prompt_tokens"], 5);
    let Job::Answer(job) = fake.last_job() else {
        panic!("another job");
    };
    assert_eq!(job.dialogue.turns[0].question, "Hi");
    fake.end().await;
}

#[tokio::test]
async fn a_stream() {
    let fake = Fake::start(Options::default()).await;
    let body = with(
        json!({ "stream": true, "stream_options": { "include_usage": true }, "logprobs": true }),
    );
    let events = events(&fake, "/v1/chat/completions", &body).await;
    assert_eq!(events.last().unwrap(), "[DONE]");
    let chunks: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let ids: Vec<&Value> = chunks.iter().map(|chunk| &chunk["id"]).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    let said: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(said, "hello world");
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(
        chunks[1]["choices"][0]["logprobs"]["content"][0]["token"],
        "hello"
    );
    let [.., end, usage] = chunks.as_slice() else {
        panic!("{chunks:?}");
    };
    assert_eq!(end["choices"][0]["finish_reason"], "stop");
    assert_eq!(usage["usage"]["total_tokens"], 7);
    fake.end().await;
}

#[tokio::test]
async fn pictures_in_and_out() {
    let fake = Fake::start(Options::default()).await;
    let content = json!([
        { "type": "text", "text": "What?" },
        { "type": "image_url", "image_url": { "url": picture(8, 4) }, "box": [0, 0, 4, 4] },
    ]);
    let messages = json!([{ "role": "user", "content": content }]);
    let (status, body) = fake
        .ask(
            "/v1/chat/completions",
            &with(json!({ "messages": messages, "images": "draw" })),
        )
        .await;
    assert_eq!(status, 200, "{body}");
    let Job::Answer(job) = fake.last_job() else {
        panic!("another job");
    };
    let shown = &job.dialogue.turns[0].pictures[0];
    assert!(shown.has_region());
    assert_eq!(
        shown.pixels().dimensions(),
        (8, 8),
        "shown whole on a square"
    );

    // What was drawn can be sent back as it came.
    let answer = body["choices"][0]["message"].clone();
    assert_eq!(answer["content"][0]["text"], "hello world");
    let asked = json!({ "messages": [
        { "role": "user", "content": "Draw." }, answer, { "role": "user", "content": "Again." },
    ]});
    let (status, body) = fake.ask("/v1/chat/completions", &with(asked)).await;
    assert_eq!(status, 200, "{body}");
    let Job::Answer(job) = fake.last_job() else {
        panic!("another job");
    };
    assert_eq!(
        job.dialogue
            .pictures()
            .next()
            .unwrap()
            .pixels()
            .dimensions(),
        (48, 48)
    );

    let drawn = with(json!({ "images": "draw", "stream": true }));
    let events = events(&fake, "/v1/chat/completions", &drawn).await;
    let pictures = events
        .iter()
        .filter(|data| data.contains("\"images\":[{\"type\":\"image_url\""));
    assert_eq!(pictures.count(), 1);
    fake.end().await;
}

#[tokio::test]
async fn several_texts() {
    let fake = Fake::start(Options::default()).await;
    let body = json!({ "prompt": ["ab", "abcd"], "n": 2, "logprobs": 1 });
    let (status, told) = fake.ask("/v1/completions", &body).await;
    assert_eq!(status, 200, "{told}");
    let indices: Vec<&Value> = told["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["index"])
        .collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    assert_eq!(told["choices"][3]["logprobs"]["text_offset"], json!([4, 9]));
    assert_eq!(told["choices"][0]["text"], "hello world");
    assert_eq!(told["usage"]["prompt_tokens"], 10, "of both jobs");
    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    let events = events(&fake, "/v1/completions", &streamed).await;
    let ends = events
        .iter()
        .filter(|data| data.contains("\"finish_reason\":\"stop\""));
    assert_eq!(ends.count(), 4);
    assert_eq!(events.last().unwrap(), "[DONE]");
    fake.end().await;
}

#[tokio::test]
async fn drawings_restorations_and_scores() {
    let fake = Fake::start(Options::default()).await;
    let (_, drawn) = fake
        .ask(
            "/v1/images/generations",
            &json!({ "prompt": "a fox", "n": 2 }),
        )
        .await;
    assert_eq!(drawn["data"].as_array().unwrap().len(), 2, "{drawn}");
    assert_eq!(drawn["size"], "48x48");
    let body =
        json!({ "image": picture(8, 8), "polygon": [[1, 1], [7, 1], [7, 7]], "strength": 0.5 });
    let (status, restored) = fake.ask("/v1/restore", &body).await;
    assert_eq!(status, 200, "{restored}");
    assert!(
        restored["data"][0]["b64_json"]
            .as_str()
            .unwrap()
            .starts_with("iVBOR")
    );
    let Job::Restore(job) = fake.last_job() else {
        panic!("another job");
    };
    assert!(job.picture.has_region());
    assert_eq!(job.strength, 0.5);
    let (_, scored) = fake
        .ask("/v1/score", &with(json!({ "answers": ["yes", "no"] })))
        .await;
    assert_eq!(scored["scores"][1]["answer"], "no", "{scored}");
    let probability = scored["scores"][0]["probability"].as_f64().unwrap();
    assert!((probability - 2.0 / 3.0).abs() < 1e-9);
    fake.end().await;
}

#[tokio::test]
async fn models_by_name() {
    let fake = Fake::start(Options::default()).await;
    let (_, list) = read(fake.get("/v1/models").await).await;
    assert_eq!(list["data"][0]["id"], "fake");
    let (_, one) = read(fake.get("/v1/models/org/gone").await).await;
    assert_eq!(one["id"], "org/gone");
    let (status, none) = fake
        .ask("/v1/chat/completions", &with(json!({ "model": "other" })))
        .await;
    assert_eq!(
        (status, &none["error"]["code"]),
        (404, &json!("model_not_found"))
    );
    let (status, gone) = fake
        .ask(
            "/v1/chat/completions",
            &with(json!({ "model": "org/gone" })),
        )
        .await;
    assert_eq!(status, 503, "its thread has ended: {gone}");
    fake.end().await;
}

#[tokio::test]
async fn a_job_that_fails() {
    fn fail(submitted: Submitted) {
        let error = match &submitted.job {
            Job::Answer(_) => deem::Error::TooLong {
                tokens: 100,
                answer: 50,
                limit: 128,
            },
            _ => deem::Error::Io {
                path: "/srv/secret".into(),
                cause: std::io::Error::other("gone"),
            },
        };
        let _ = submitted.events.send(Event::Failed(error));
    }
    let fake = Fake::with(Options::default(), fail).await;
    for stream in [false, true] {
        let (status, told) = fake
            .ask("/v1/chat/completions", &with(json!({ "stream": stream })))
            .await;
        assert_eq!(
            (status, &told["error"]["code"]),
            (400, &json!("context_length_exceeded"))
        );
    }
    let (status, told) = fake
        .ask("/v1/images/generations", &json!({ "prompt": "a" }))
        .await;
    assert_eq!(status, 500);
    assert!(!told.to_string().contains("secret"), "{told}");
    assert!(
        fake.metrics
            .text()
            .unwrap()
            .contains("deem_errors_total{kind=\"server_error\"} 1")
    );
    fake.end().await;
}

#[tokio::test]
async fn an_error_within_a_stream_ends_it_without_done() {
    fn break_off(submitted: Submitted) {
        let text = Event::Text {
            choice: 0,
            text: "a".into(),
            tokens: vec![],
        };
        let _ = submitted.events.send(text);
    }
    let fake = Fake::with(Options::default(), break_off).await;
    let events = events(
        &fake,
        "/v1/chat/completions",
        &with(json!({ "stream": true })),
    )
    .await;
    let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    assert_eq!(last["error"]["type"], "server_error");
    fake.end().await;
}

#[tokio::test]
async fn who_goes_away_cancels() {
    fn wait(submitted: Submitted) {
        let text = Event::Text {
            choice: 0,
            text: "a".into(),
            tokens: vec![],
        };
        let _ = submitted.events.send(text);
        while !submitted.events.is_closed() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let fake = Fake::with(Options::default(), wait).await;
    for stream in [true, false] {
        let body = with(json!({ "stream": stream }));
        let sent = fake
            .client
            .post(format!("{}/v1/chat/completions", fake.url));
        let sent = sent
            .header("content-type", "application/json")
            .body(body.to_string());
        let left = tokio::time::timeout(Duration::from_millis(800), async {
            sent.send().await.unwrap().text().await
        });
        assert!(left.await.is_err(), "it never ends by itself");
    }
    // The worker comes to the second job only when the first one is cancelled.
    tokio::time::timeout(Duration::from_secs(10), async {
        while !fake.metrics.text().unwrap().contains("status=\"499\"} 1") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(fake.jobs.lock().unwrap().len(), 2);
    fake.end().await;
}
