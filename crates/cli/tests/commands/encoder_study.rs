//! The study of bare encoders, so small that it takes seconds: stopped, gone on with, and what is wrong named.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{fails, succeeds};

/// One arm with few questions, trained for so many steps in each of its stages.
fn study<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut command = vec![
        "reproduce",
        "--study",
        "encoder",
        "--only",
        "deem",
        "-o",
        output,
    ];
    for field in [
        "sizes.pairs=14",
        "sizes.zero_shot=6",
        "sizes.retrieval=5",
        "sizes.probe=24",
        "arms.1.stages.0.batch=2",
        "arms.1.stages.0.train.save_every=1",
        "arms.1.stages.0.train.schedule.steps=2",
        "arms.1.stages.1.batch=2",
        "arms.1.stages.1.train.save_every=1",
        "arms.1.stages.1.train.schedule.steps=3",
    ] {
        command.extend(["--set", field]);
    }
    command.extend(more);
    command
}

/// Weights and answers that a run left, and its results without what it took.
fn left(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            match path.extension().and_then(|kind| kind.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("safetensors") => drop(found.insert(name, fs::read(&path).unwrap())),
                _ if name.ends_with("answers.json") => {
                    found.insert(name, fs::read(&path).unwrap());
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn a_stopped_study_goes_on_to_the_same_results() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let json = succeeds(&study("whole", &["--json"]), folder.path());
    let whole: Value = serde_json::from_str(&json).unwrap();
    let arms = whole["arms"].as_object().unwrap();
    assert_eq!(
        arms.keys().collect::<Vec<_>>(),
        ["deem", "deem+retention", "none"]
    );
    for (name, arm) in arms {
        assert_eq!(arm["patterns"].as_object().unwrap().len(), 7, "{name}");
        assert!(arm["pair_accuracy"].is_number() && arm["zero_shot"].is_number());
        assert_eq!(arm["difference"].is_null(), name == "none");
    }
    assert!(arms["deem"]["difference"]["mean"].is_number());
    let page = fs::read_to_string(at("whole/report.html")).unwrap();
    for shown in [
        "Pairs by captions",
        "orientation",
        "deem+retention: ",
        "Retrieval",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    // Killed while the last stage was being trained: the answers and the newest step are not there yet.
    succeeds(&study("stopped", &[]), folder.path());
    for lost in [
        "stopped/deem/seed-1/answers.json",
        "stopped/deem+retention",
        "stopped/results.json",
    ] {
        let path = at(lost);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    let encoder = at("stopped/deem/seed-1/encoder");
    fs::remove_dir_all(&encoder).unwrap();
    let again = succeeds(&study("stopped", &["--json"]), folder.path());
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap(), whole);
    let (expected, found) = (left(&at("whole")), left(&at("stopped")));
    assert!(expected.len() > 6, "{:?}", expected.keys());
    let differing: Vec<&String> = expected
        .iter()
        .filter(|(name, bytes)| found.get(*name) != Some(bytes))
        .map(|(name, _)| name)
        .collect();
    assert!(differing.is_empty(), "{differing:?}");
    // Another recipe does not go on in the same folder.
    let other = study(
        "whole",
        &["--set", "arms.1.stages.1.train.schedule.steps=4"],
    );
    let (_, said) = fails(&other, folder.path());
    assert!(
        said.contains("steps = 3") && said.contains("steps = 4"),
        "{said}"
    );
}

#[test]
fn what_is_wrong_with_a_study_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let named = |more: &[&str], parts: &[&str]| {
        let (code, said) = fails(&study("wrong", more), folder.path());
        assert_eq!(code, Some(1), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
    };
    named(&["--only", "dive"], &["--only", "diva", "dive"]);
    named(
        &["--set", "sizes.pairs=3"],
        &["encoder-study.toml", "sizes.pairs", "7", "3"],
    );
    named(&["--set", "arms.1.name=diva"], &["arms[1].name", "diva"]);
    named(
        &["--set", "arms.0.projection=none"],
        &["projection", "128", "256"],
    );
    named(&["--set", "arms.0.stages=[]"], &["arms[0].stages"]);
    named(&["--set", "sizes.pears=3"], &["pears"]);
    named(&["--recipes", "nowhere.toml"], &["nowhere.toml"]);
    let (code, said) = fails(&["reproduce", "--only", "diva"], folder.path());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--study encoder"), "{said}");
}
