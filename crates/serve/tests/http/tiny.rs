//! The tiny preset behind HTTP says what it says when it is asked directly.

use std::sync::{Arc, Mutex};

use base64::Engine;
use deem::{ImageOptions, Open, Picture, TextOptions};
use deem_serve::{Handle, Metrics, Options, Schedule, Served};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};

use super::fake::Fake;

fn drawn(told: &Value) -> RgbImage {
    let data = told["data"][0]["b64_json"].as_str().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(data)
        .unwrap();
    image::load_from_memory(&bytes).unwrap().to_rgb8()
}

#[tokio::test(flavor = "multi_thread")]
async fn as_asked_directly() {
    let model = Open::preset("tiny").load().unwrap();
    let pixels = RgbImage::from_fn(96, 96, |x, y| Rgb([x as u8 * 2, y as u8 * 2, 90]));
    let shown = Picture::new("a", pixels.clone());
    let question = "What is in the picture?";
    let options = TextOptions::longest(12);
    let answer = model
        .ask(question, std::slice::from_ref(&shown), &options)
        .unwrap();
    let scores = model
        .score(question, std::slice::from_ref(&shown), &["yes", "no"])
        .unwrap();
    let few = ImageOptions {
        steps: 2,
        guidance: 1.0,
        ..ImageOptions::default()
    };
    let restored = model.restore(&shown, 0.65, &few).unwrap();
    let fox = model.draw("a red fox", &few).unwrap();

    let (handle, arriving) = Handle::new(8);
    let served = Served {
        id: "tiny".into(),
        handle,
        drawing_size: model.spec().model.diffusion_size,
        context: model.spec().model.llama.max_position_embeddings,
    };
    let metrics = Metrics::new("tiny");
    let threads = Schedule::default()
        .start(&model, arriving, &metrics)
        .unwrap();
    let fake = Fake::of(Options::default(), vec![served], Arc::new(Mutex::default())).await;
    let mut bytes = std::io::Cursor::new(Vec::new());
    pixels
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    let data = base64::engine::general_purpose::STANDARD.encode(bytes.into_inner());
    let url = format!("data:image/png;base64,{data}");
    let content = json!([
        { "type": "image_url", "image_url": { "url": url } },
        { "type": "text", "text": question },
    ]);
    let messages = json!([{ "role": "user", "content": content }]);

    let body = json!({ "messages": messages, "max_tokens": 12 });
    let (status, told) = fake.ask("/v1/chat/completions", &body).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["choices"][0]["message"]["content"], answer);
    assert!(told["usage"]["prompt_tokens"].as_u64().unwrap() > 4);

    let body = json!({ "messages": messages, "max_tokens": 12, "stream": true });
    let text = fake
        .post("/v1/chat/completions", &body)
        .await
        .text()
        .await
        .unwrap();
    let said: String = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|chunk| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .collect();
    assert_eq!(said.trim(), answer);
    assert!(text.ends_with("data: [DONE]\n\n"));

    let body = json!({ "messages": messages, "answers": ["yes", "no"] });
    let (_, told) = fake.ask("/v1/score", &body).await;
    for (index, score) in scores.iter().enumerate() {
        let found = told["scores"][index]["log_probability"].as_f64().unwrap();
        assert!((found - score).abs() < 1e-3, "{told}, {scores:?}");
    }
    let (_, told) = fake
        .ask("/v1/restore", &json!({ "image": url, "steps": 2 }))
        .await;
    assert_eq!(drawn(&told), restored);
    let body = json!({ "prompt": "a red fox", "steps": 2, "guidance": 1, "size": "auto" });
    let (_, told) = fake.ask("/v1/images/generations", &body).await;
    assert_eq!(drawn(&told), fox);
    let (status, told) = fake
        .ask(
            "/v1/completions",
            &json!({ "prompt": "A photo of", "max_tokens": 1 }),
        )
        .await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["choices"][0]["finish_reason"], "length");
    fake.end().await;
    for thread in threads {
        thread.join().unwrap();
    }
}
