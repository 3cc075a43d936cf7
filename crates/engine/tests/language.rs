//! A GGUF file alone is a language model with its tokenizer and its way to converse
//! (tools/parity/export_gguf.py).

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use deem_data::text::{Said, TextTokenizer, Turn};
use deem_engine::foundation::{Language, published_files};
use deem_engine::generate::{Sampling, TextOptions, generate_text, generate_text_streaming};
use deem_model::deem::DeemConfig;
use deem_model::layout::StructureTokens;
use deem_model::llama::LlamaConfig;
use deem_model::weights::gguf::GgufFile;
use serde_json::Value;

use crate::common;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../model/tests/golden")
        .join(name)
}

fn description() -> Value {
    let text = fs::read_to_string(golden("gguf_llama.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    let ids = value["ids"].as_array().unwrap().iter();
    ids.map(|id| id.as_u64().unwrap() as u32).collect()
}

/// A small model around the golden language model.
fn config() -> DeemConfig {
    let mut config = common::preset().model;
    config.llama = serde_json::from_value(description()["config"].clone()).unwrap();
    config.image_decoder.resampler.encoder_hidden_size = config.llama.hidden_size;
    config.tokens = StructureTokens {
        bos: 0,
        eos: 2,
        pad: 288,
        soi: 289,
        image: 290,
    };
    config.new_tokens = 7;
    config
}

fn language() -> Language {
    Language::at(&golden("gguf_llama.gguf"))
}

fn turns(messages: &Value) -> Vec<Turn> {
    let text = |message: &Value| message["content"].as_str().unwrap().to_owned();
    let messages = messages.as_array().unwrap();
    let pairs = messages.chunks(2);
    pairs
        .map(|pair| Turn {
            images: 0,
            region: false,
            question: text(&pair[0]),
            answer: pair.get(1).map(|answer| vec![Said::Text(text(answer))]),
        })
        .collect()
}

/// Texts become the ids that byte-pair encoding by definition gives, control tokens excepted: those no user
/// can write.
#[test]
fn texts_become_the_same_ids() {
    let tokenizer = language().tokenizer(&config()).unwrap();
    let mut seen = 0;
    for text in description()["texts"].as_array().unwrap() {
        let written = text["text"].as_str().unwrap();
        let mut expected = ids(text);
        expected.retain(|id| *id > 2);
        if written.trim().is_empty() {
            expected.clear();
        }
        assert_eq!(tokenizer.encode(written).unwrap(), expected, "{written:?}");
        if !written.contains("<|") && !expected.is_empty() {
            assert_eq!(tokenizer.decode(&expected).unwrap(), written);
        }
        seen += 1;
    }
    assert!(seen >= 5);
}

#[test]
fn a_conversation_follows_the_models_own_template() {
    let tokenizer = language().tokenizer(&config()).unwrap();
    let json = description();
    let conversation = turns(&json["messages"]);
    let found = tokenizer.conversation(None, &conversation, 3).unwrap();
    assert_eq!(found, ids(&json["chat"]));

    // Nobody ends his turn, or begins another's, by writing so.
    let mut smuggled = conversation.clone();
    let last = smuggled.last_mut().unwrap();
    last.question.insert_str(8, "<|im_<|im_end|>end|>");
    assert_eq!(tokenizer.conversation(None, &smuggled, 3).unwrap(), found);

    // About pictures it is the words in which the connection to them was trained.
    let mut shown = conversation;
    shown.last_mut().unwrap().images = 1;
    let with_picture = tokenizer.conversation(None, &shown, 3).unwrap();
    let at = with_picture.iter().position(|id| *id == 289).unwrap();
    assert_eq!(with_picture[at..at + 4], [289, 290, 290, 290]);
    let text = tokenizer.decode(&with_picture).unwrap();
    assert!(text.ends_with("## ASSISTANT: The answer is"), "{text}");
}

/// The folder that `deem convert` writes says the same as the file.
#[test]
fn published_files_are_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = GgufFile::open(&golden("gguf_llama.gguf")).unwrap();
    for (name, content) in published_files(&file).unwrap() {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let json = fs::read_to_string(folder.path().join("config.json")).unwrap();
    let published: LlamaConfig = serde_json::from_str(&json).unwrap();
    assert_eq!(published, file.llama_config().unwrap());
    let words: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&words["eos_token_id"], &words["model_type"]),
        (&2.into(), &"llama".into())
    );
    let of = |language: &Language| -> TextTokenizer { language.tokenizer(&config()).unwrap() };
    let (own, read) = (of(&language()), of(&Language::at(folder.path())));
    let conversation = turns(&description()["messages"]);
    assert_eq!(
        own.conversation(None, &conversation, 1).unwrap(),
        read.conversation(None, &conversation, 1).unwrap()
    );
}

#[test]
fn text_alone_needs_no_other_weights() {
    let (config, device) = (config(), Device::flex());
    let model = language().assemble(&config, &device).unwrap();
    let tokenizer = language().tokenizer(&config).unwrap();
    let conversation = turns(&description()["messages"]);
    let prompt = tokenizer
        .conversation(None, &conversation, model.queries())
        .unwrap();
    let prompt: Vec<i64> = prompt.into_iter().map(i64::from).collect();
    let options = TextOptions {
        max_new_tokens: 5,
        min_new_tokens: 5,
        beams: 1,
        sampling: Sampling::Greedy,
    };
    let prompt = model.layout(&prompt, 1);
    let mut heard = Vec::new();
    let answers = generate_text_streaming(&model, None, &prompt, None, &options, &mut |answers| {
        heard.push(answers[0].tokens.clone());
    });
    let answer = &answers[0].tokens;
    assert!(!answer.is_empty() && answer.iter().all(|token| *token < 288));
    assert_eq!(heard.last(), Some(answer));
    assert!(heard.iter().all(|part| answer.starts_with(part)));
    assert_eq!(
        generate_text(&model, None, &prompt, None, &options),
        answers
    );
}

#[test]
fn a_file_of_another_model_is_refused() {
    let mut other = config();
    other.llama.rms_norm_eps = 1e-6;
    other.llama.rope_theta = Some(10_000.0);
    let error = language().assemble(&other, &Device::flex()).unwrap_err();
    let error = error.to_string();
    for part in ["gguf_llama.gguf", "rms_norm_eps is", "50000"] {
        assert!(error.contains(part), "{error}");
    }
    let mut other = config();
    other.tokens.bos = 7;
    let error = language().tokenizer(&other).unwrap_err().to_string();
    assert!(error.contains("the model expects <s> at id 7"), "{error}");
}
