//! `deem pretrain` writes into its own folder alone, where later parts find earlier ones; `--install` puts them in place.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::copy_tree;

const QUICK: [&str; 9] = [
    "pretrain.autoencoder.batch=2",
    "pretrain.autoencoder.train.schedule.steps=2",
    "pretrain.autoencoder.train.schedule.warmup=1",
    "pretrain.clip.batch=2",
    "pretrain.clip.train.schedule.steps=2",
    "pretrain.clip.train.schedule.warmup=1",
    "pretrain.diffusion.batch=2",
    "pretrain.diffusion.train.schedule.steps=2",
    "pretrain.diffusion.train.schedule.warmup=1",
];

/// Runs the program on a copy of the shipped assets.
fn deem(folder: &Path, command: &[&str], set: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_deem"))
        .args(command)
        .args(set.iter().flat_map(|field| ["--set", field]))
        .current_dir(folder)
        .env("DEEM_ASSETS", folder.join("assets"))
        .output()
        .expect("the program starts")
}

fn succeeds(folder: &Path, command: &[&str], set: &[&str]) -> String {
    let output = deem(folder, command, set);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

fn fails(folder: &Path, command: &[&str]) -> String {
    let output = deem(folder, command, &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{command:?} succeeded");
    said
}

/// All files below a folder, with their content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn shipped_weights_stay_until_others_are_installed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/standins/tiny");
    let shipped = folder.join("assets/standins/tiny");
    copy_tree(&source, &shipped);
    let before = files(&shipped);
    let draw = |standins: &str| {
        let name = standins.replace('/', "-") + ".png";
        let draw = ["generate", "a red apple", "--steps", "2", "-o", &name];
        succeeds(
            folder,
            &[&draw[..], &["--standins", standins]].concat(),
            &[],
        );
        fs::read(folder.join(name)).unwrap()
    };
    let untouched = draw("assets/standins/tiny");

    for part in ["autoencoder", "clip", "diffusion"] {
        let said = succeeds(folder, &["pretrain", part], &QUICK);
        assert!(said.contains("--install"), "{said}");
        assert_eq!(files(&shipped), before, "{part}");
    }
    let made = folder.join("runs/pretrain/standins");
    let sums = fs::read_to_string(made.join("SHA256SUMS")).unwrap();
    let names = sums.lines().map(|line| line.split_once("  ").unwrap().1);
    let parts = ["autoencoder", "clip", "text_encoder", "unet"];
    let expected = parts.map(|part| format!("{part}/model.safetensors"));
    assert_eq!(names.collect::<Vec<_>>(), expected);
    // The diffusion model was made in the latent space that was made before it.
    let run = files(&folder.join("runs/pretrain/diffusion"));
    let autoencoder = sums.split("  ").next().unwrap();
    let texts = run.values().map(|content| String::from_utf8_lossy(content));
    assert!(
        texts.into_iter().any(|text| text.contains(autoencoder)),
        "the run names {autoencoder}"
    );

    fs::create_dir(folder.join("letters")).unwrap();
    fs::write(folder.join("letters/a.txt"), "a").unwrap();
    let refused = fails(folder, &["pretrain", "--install", "letters"]);
    assert!(refused.contains("experiment.toml"), "{refused}");
    assert_eq!(files(&folder.join("letters")).len(), 1);
    let refused = fails(folder, &["pretrain"]);
    assert!(refused.contains("<PART>"), "{refused}");

    succeeds(folder, &["pretrain", "--install", "mine"], &[]);
    assert_eq!(files(&shipped), before);
    let said = succeeds(
        folder,
        &["pretrain", "clip", "--install", "assets/standins/tiny"],
        &QUICK,
    );
    assert!(said.contains("SHA256SUMS"), "{said}");
    assert_ne!(files(&shipped), before);
    let drawn = draw("mine");
    assert_ne!(drawn, untouched);
    assert_eq!(drawn, draw("assets/standins/tiny"));
}
