//! Whatever is done with the result of a stage is the same with the folder that it is exported to, and another one than
//! with what the stage began with; a result that lacks something that was trained is refused everywhere.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use deem_model::weights::{LazyTensor, WeightsFile, write_stream};
use serde_json::Value;

use super::evaluate::{json_of, pope, records};
use super::{copy_tree, fails, picture, quick_stages, succeeds};

/// Every command that opens a result, upon one of this name; `PIC` is a picture. What it writes goes to a place of that
/// name, too.
fn commands(model: &str) -> Vec<Vec<String>> {
    let lines = [
        "ask PIC what? --json --max-new-tokens 4 --model MODEL",
        "ask what? --json --max-new-tokens 4 --model MODEL",
        "restore PIC -o MODEL-restored.png --steps 2 --model MODEL",
        "generate cat -o MODEL-drawn.png --steps 2 --model MODEL",
        "eval --benchmark pope --data POPE --output MODEL-answers --json --model MODEL",
        "train --stage stage3 --from MODEL -o MODEL-further --set batch=2 --set train.schedule.steps=1 \
         --set train.schedule.warmup=0",
    ];
    let word = |word: &str| match word {
        "PIC" => "seen/0000-0.png".to_owned(),
        other => other.replace("MODEL", model),
    };
    let words = lines.map(|line| line.split_whitespace().map(word).collect());
    words.into()
}

/// What all commands make of a result, without its name and without times.
struct Uses {
    answers: Vec<Value>,
    restored: Vec<u8>,
    drawn: Vec<u8>,
    evaluated: Vec<Value>,
    further: WeightsFile,
}

fn uses(model: &str, folder: &Path) -> Uses {
    let mut answers = Vec::new();
    for command in commands(model) {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let told = succeeds(&command, folder);
        if command[0] == "ask" {
            answers.push(json_of(&told)["answer"].clone());
        }
    }
    let mut evaluated = records(&folder.join(format!("{model}-answers")));
    for answer in &mut evaluated {
        answer["seconds"] = Value::Null;
    }
    let at = |end: &str| folder.join(format!("{model}-{end}"));
    let trained = at("further/stage3/checkpoint/model.safetensors");
    Uses {
        answers,
        restored: fs::read(at("restored.png")).unwrap(),
        drawn: fs::read(at("drawn.png")).unwrap(),
        evaluated,
        further: WeightsFile::open(&trained).unwrap(),
    }
}

#[test]
fn results_and_what_they_are_exported_to_are_the_same_to_all_commands() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    picture(folder);
    pope(&folder.join("POPE"));
    let quick = quick_stages();
    let quick = quick.iter().map(String::as_str);
    let train: Vec<&str> = ["train", "-o", "run"].into_iter().chain(quick).collect();
    succeeds(&train, folder);
    let begin = uses("tiny", folder);
    for (stage, name) in [("stage1", "one"), ("stage2", "two")] {
        copy_tree(&folder.join("run").join(stage), &folder.join(name));
        let merged = format!("{name}-merged");
        succeeds(&["export", name, &merged], folder);
        let (result, exported) = (uses(name, folder), uses(&merged, folder));
        assert_eq!(result.answers, exported.answers, "{name}");
        assert_eq!(result.evaluated, exported.evaluated, "{name}");
        assert!(result.restored == exported.restored, "{name}");
        assert!(result.drawn == exported.drawn, "{name}");
        // Upon an exported folder a checkpoint holds what the further stage trained, else all that any did.
        assert!(exported.further.keys().next().is_some());
        for key in exported.further.keys() {
            let (one, other) = (&result.further, &exported.further);
            assert!(one.bytes(key) == other.bytes(key), "{name}: {key}");
        }
        assert!(result.restored != begin.restored && result.drawn != begin.drawn);
        assert_ne!(result.evaluated, begin.evaluated, "{name}");
    }
    // Of the second stage, what the first trained is part.
    let path = folder.join("two/checkpoint/model.safetensors");
    let whole = WeightsFile::open(&path).unwrap();
    let (kept, lost): (Vec<&str>, Vec<&str>) = whole
        .keys()
        .partition(|key| !key.starts_with("image_encoder.proj_t"));
    assert!(!lost.is_empty());
    let mut kept: Vec<LazyTensor> = kept
        .into_iter()
        .map(|key| LazyTensor {
            name: key.into(),
            dtype: whole.dtype(key).unwrap(),
            shape: whole.shape(key).unwrap().into(),
            read: Box::new(|| whole.bytes(key).unwrap()),
        })
        .collect();
    copy_tree(&folder.join("two"), &folder.join("half"));
    let path = folder.join("half/checkpoint/model.safetensors");
    fs::remove_file(&path).unwrap();
    write_stream(&mut kept, &path, &HashMap::new()).unwrap();
    for command in commands("half") {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let (code, told) = fails(&command, folder);
        assert_eq!(code, Some(1), "{command:?}: {told}");
        assert!(
            told.contains("half") && told.contains("image_encoder.proj_t"),
            "{command:?}: {told}"
        );
    }
}
