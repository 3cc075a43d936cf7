//! The built-in world from the first stand-in to the study of what captions leave out, very small.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::reproducible::{few, quick};

fn deem(folder: &Path, command: &[&str]) -> Output {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let attributes = few("pretrain.clip_attributes");
    let fields: Vec<String> = quick().into_iter().chain(attributes).collect();
    Command::new(env!("CARGO_BIN_EXE_deem"))
        .args(command)
        .args(["--standins", "standins"])
        .args(fields.iter().flat_map(|field| ["--set", field]))
        .current_dir(folder)
        .env("DEEM_ASSETS", assets)
        .output()
        .expect("the program starts")
}

fn succeeds(folder: &Path, command: &[&str]) -> String {
    let output = deem(folder, command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_world_whose_captions_leave_things_out_is_trained_on_judged_and_studied() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/standins/tiny");
    let standins = folder.join("standins");
    fs::create_dir(&standins).unwrap();
    for name in ["model.toml", "experiment.toml", "encoder-study.toml"] {
        fs::copy(assets.join(name), standins.join(name)).unwrap();
    }
    for part in [
        "autoencoder",
        "clip",
        "clip-attributes",
        "miner",
        "llm",
        "diffusion",
        "connect",
    ] {
        succeeds(folder, &["pretrain", part, "-o", "pretrain"]);
    }

    // Two steps make no stand-in that may ship.
    let output = deem(folder, &["pretrain", "check", "-o", "pretrain"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no card is written"), "{said}");
    for part in [
        "language model, color, open: expected at least 97 %",
        "encoder, zero-shot, captioned styles: expected at least 90 %",
        "encoder, noun probe in scenes: expected at least 85 %",
        "diffusion model, orientation: expected a rise",
        "warm start, objects named: expected at least 90 %",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        printed.contains("the never-seen style") && printed.contains("160 classes"),
        "{printed}"
    );
    for made in [&standins, &folder.join("pretrain/standins")] {
        assert!(!made.join("README.md").exists());
    }

    assert_eq!(fs::read_dir(&standins).unwrap().count(), 3, "as it was");
    succeeds(
        folder,
        &["pretrain", "--install", "standins", "-o", "pretrain"],
    );

    let arms = [
        "reproduce",
        "--arms",
        "feedback,before,oracle",
        "-o",
        "study",
    ];
    succeeds(folder, &arms);
    let results = fs::read_to_string(folder.join("study/results.json")).unwrap();
    let results: Value = serde_json::from_str(&results).unwrap();
    for arm in ["feedback", "before", "oracle"] {
        let families = &results["arms"][arm]["families"];
        for part in ["style", "concepts"] {
            let accuracy = &families["unseen"]["figures"][part]["accuracy"]["mean"];
            assert!(accuracy.is_number(), "{arm}, {part}: {families}");
        }
        let trained = folder.join("study").join(arm).join("seed-1/stage1");
        assert_eq!(trained.exists(), arm != "before");
    }

    let study = [
        "reproduce",
        "--study",
        "caption-completeness",
        "-o",
        "doses",
    ];
    let printed = succeeds(folder, &study);
    assert!(printed.contains("complete 0.25"), "{printed}");
    let written = fs::read_to_string(folder.join("doses/caption-completeness.json")).unwrap();
    let written: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written["doses"].as_array().unwrap().len(), 4);
    assert!(written["listening"]["background"].is_number());
    let gain =
        &written["doses"][3]["difference"]["mmvp"]["figures"]["all"]["pair_accuracy_likelihood"];
    assert!(gain["mean"].is_number(), "{gain}");

    let mut encoders = vec![
        "reproduce",
        "--study",
        "encoder",
        "--only",
        "deem",
        "--json",
    ];
    for field in [
        "sizes={ pairs = 14, zero_shot = 6, retrieval = 5, probe = 24 }",
        "arms.1.stages.0.batch=2",
        "arms.1.stages.0.train.schedule={ steps = 2, warmup = 1, floor = 0.1 }",
        "arms.1.stages.1.batch=2",
        "arms.1.stages.1.train.schedule={ steps = 2, warmup = 1, floor = 0.1 }",
    ] {
        encoders.extend(["--set", field]);
    }
    let of = |output, more: &[&str]| {
        let command = [&encoders[..], &["-o", output], more].concat();
        serde_json::from_str::<Value>(&succeeds(folder, &command)).unwrap()["arms"].clone()
    };
    let (attributes, names) = (
        of("attributes", &[]),
        of("names", &["--set", "encoder=clip"]),
    );
    assert!(attributes["deem+retention"]["pair_accuracy"].is_number());
    // Another encoder answers.
    let answers = ["attributes", "names"]
        .map(|output| fs::read(folder.join(output).join("none/answers.json")).unwrap());
    assert!(names["none"].is_object() && answers[0] != answers[1]);
}
