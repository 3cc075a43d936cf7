use image::RgbImage;
use serde_json::{Value, json};

use super::*;
use crate::api::fields::read;

fn draft(messages: Value) -> Result<Draft, ApiError> {
    Draft::of(read(&messages, "messages")?)
}

fn part(url: &str) -> Value {
    json!({ "type": "image_url", "image_url": { "url": url, "detail": "low" } })
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

/// Turns in words: pictures by their width, which is one more than their place in `sources`.
fn said(messages: Value) -> Vec<(Vec<u32>, String, Option<String>)> {
    let draft = draft(messages).unwrap();
    let pictures: Vec<Picture> = (1..=draft.sources.len() as u32)
        .map(|width| Picture::new("a", RgbImage::new(width, 1)))
        .collect();
    let width = |picture: &Picture| picture.pixels().width();
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Picture(picture) => format!("<{}>", width(picture)),
    };
    let turns = draft.with(&pictures).unwrap().turns;
    let turn = |turn: &Exchange| {
        let answer = turn.answer.as_ref();
        (
            turn.pictures.iter().map(width).collect(),
            turn.question.clone(),
            answer.map(|pieces| pieces.iter().map(piece).collect()),
        )
    };
    turns.iter().map(turn).collect()
}

#[test]
fn turns_of_texts_and_pictures() {
    let messages = json!([
        { "role": "system", "content": "Be brief." },
        { "role": "developer", "content": [text("Be right.")] },
        { "role": "user", "content": [part("a"), text("What?"), part("b")] },
        { "role": "assistant", "content": [text("This:"), part("c"), text("see?")] },
        { "role": "assistant", "content": " More." },
        { "role": "user", "content": "One" },
        { "role": "user", "content": [text("two"), part("d")], "name": "me" },
    ]);
    let expected = vec![
        (
            vec![1, 2],
            "What?".to_owned(),
            Some("This:<3>see? More.".to_owned()),
        ),
        (vec![4], "One\ntwo".to_owned(), None),
    ];
    assert_eq!(said(messages.clone()), expected);
    let draft = draft(messages).unwrap();
    assert!(draft.shows_picture());
    let params: Vec<&str> = draft
        .sources
        .iter()
        .map(|source| source.param.as_str())
        .collect();
    assert_eq!(params[0], "messages[2].content[0]");
    assert_eq!(params[3], "messages[6].content[1]");
    let picture = Picture::new("a", RgbImage::new(1, 1));
    let dialogue = draft.with(&vec![picture; 4]).unwrap();
    assert_eq!(dialogue.system.as_deref(), Some("Be brief.\nBe right."));
}

#[test]
fn regions_and_what_is_asked_of_them() {
    let with = |region: Value, texts: Value| {
        let mut picture = part("a");
        picture
            .as_object_mut()
            .unwrap()
            .extend(region.as_object().unwrap().clone());
        let mut content = vec![picture];
        content.extend(texts.as_array().unwrap().clone());
        json!([{ "role": "user", "content": content }])
    };
    let region = |region: Value| {
        draft(with(region, json!([text("What?")]))).map(|draft| draft.sources[0].region.clone())
    };
    assert_eq!(region(json!({})).unwrap(), None);
    assert_eq!(
        region(json!({ "box": [0, 1, 2.5, 3] })).unwrap(),
        Some(Region::Box([0.0, 1.0, 2.5, 3.0]))
    );
    assert_eq!(
        region(json!({ "polygon": [[0, 1], [2, 3], [4, 5]] })).unwrap(),
        Some(Region::Polygon(vec![[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
    );
    assert_eq!(
        region(json!({ "mask": "data:x" })).unwrap(),
        Some(Region::Mask("data:x".into()))
    );
    let several = region(json!({ "mask": "data:x", "box": [0, 0, 1, 1] })).unwrap_err();
    assert!(several.message.contains("several"), "{}", several.message);
    assert!(region(json!({ "box": [0, 1, 2] })).is_err());
    let described = said(with(json!({ "box": [0, 0, 1, 1] }), json!([])));
    assert_eq!(described[0].1, REGION_REQUEST);
}

#[test]
fn messages_that_make_no_conversation_are_named() {
    let user = json!({ "role": "user", "content": "a" });
    for (messages, param) in [
        (json!([]), "messages"),
        (json!([{ "role": "system", "content": "a" }]), "messages"),
        (
            json!([user, { "role": "assistant", "content": "b" }]),
            "messages",
        ),
        (
            json!([{ "role": "assistant", "content": "b" }]),
            "messages[0]",
        ),
        (
            json!([user, { "role": "system", "content": "b" }]),
            "messages[1]",
        ),
        (
            json!([{ "role": "system", "content": [part("a")] }]),
            "messages[0]",
        ),
        (
            json!([{ "role": "user", "content": "" }]),
            "messages[0].content",
        ),
        (
            json!([{ "role": "user", "content": null }]),
            "messages[0].content",
        ),
        (json!([{ "role": "user" }]), "messages[0].content"),
        (
            json!([{ "role": "tool", "content": "b" }]),
            "messages[0].role",
        ),
        (json!([{ "content": "b" }]), "messages[0]"),
        (
            json!([{ "role": "user", "content": 5 }]),
            "messages[0].content",
        ),
        (
            json!([{ "role": "user", "content": [{ "type": "text" }] }]),
            "messages[0].content[0]",
        ),
        (
            json!([{ "role": "user", "content": [{ "type": "image_url" }] }]),
            "messages[0].content[0]",
        ),
        (
            json!([user, { "role": "assistant", "tool_calls": [{}] }, user]),
            "messages[1].tool_calls",
        ),
    ] {
        let error = draft(messages.clone()).unwrap_err();
        assert_eq!(
            error.param.as_deref(),
            Some(param),
            "{messages}: {}",
            error.message
        );
    }
    let audio = json!([{ "role": "user", "content": [{ "type": "input_audio" }] }]);
    assert!(draft(audio).unwrap_err().message.contains("input_audio"));
    let mute = draft(json!([{ "role": "user", "content": [part("a")] }])).unwrap();
    let picture = Picture::new("a", RgbImage::new(1, 1));
    assert!(
        mute.with(&[picture])
            .unwrap_err()
            .message
            .contains("question")
    );
}
