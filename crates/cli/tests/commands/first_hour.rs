//! What somebody tried in the first hour, and what it led to.

use std::fs;
use std::path::Path;

use super::evaluate::{json_of, pope, records};
use super::{deem, fails, succeeds};

/// A stage of the preset in two very short steps.
fn stage(folder: &Path) {
    let short = [
        "train",
        "--print-config",
        "--stage",
        "stage1",
        "--set",
        "batch=2",
        "--set",
        "train.schedule.steps=2",
        "--set",
        "train.schedule.warmup=1",
    ];
    fs::write(folder.join("run.toml"), succeeds(&short, folder)).unwrap();
}

#[test]
fn a_run_that_trains_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    stage(folder.path());
    let only_condition =
        r#"train.groups=[{ patterns = ["image_encoder.proj_i.*"], learning_rate = 1e-3 }]"#;
    let refused: [(&[&str], &str); 4] = [
        (&["train.groups=[]"], "nothing is trained"),
        (
            &[r#"train.groups=[{ patterns = ["llama.*"], learning_rate = 0.0 }]"#],
            "nothing is trained",
        ),
        (
            &["loss.text=0.0", "loss.image=0.0", "loss.feedback=0.0"],
            "no loss reaches what is trained",
        ),
        (
            &[only_condition, "loss.image=0.0", "loss.feedback=0.0"],
            "no loss reaches what is trained",
        ),
    ];
    for (number, (settings, expected)) in refused.into_iter().enumerate() {
        let output = format!("run{number}");
        let mut arguments = vec!["train", "run.toml", "--output", &output];
        for setting in settings {
            arguments.extend(["--set", setting]);
        }
        let (code, told) = fails(&arguments, folder.path());
        assert_eq!(code, Some(1), "{told}");
        assert!(
            told.contains(expected) && told.contains("train.groups"),
            "{told}"
        );
        let made = folder.path().join(&output).join("checkpoint");
        assert!(!made.exists(), "{settings:?}");
    }
}

#[test]
fn a_mistake_in_a_later_stage_is_told_before_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let stages = succeeds(&["train", "--print-config"], folder.path());
    let at = stages.rfind("name = \"stage3\"").unwrap();
    for (right, wrong) in [
        ("region", "regoin"),
        ("image_encoder.query_tokens", "image_encoder.quary_tokens"),
    ] {
        let last = stages[at..].replacen(right, wrong, 1);
        assert_ne!(last, stages[at..]);
        let text = format!("{}{last}", &stages[..at]);
        fs::write(folder.path().join("run.toml"), text).unwrap();
        let (_, told) = fails(&["train", "run.toml", "--output", "run"], folder.path());
        assert!(
            told.contains("stage \"stage3\"") && told.contains(wrong),
            "{told}"
        );
        assert!(!folder.path().join("run/stage1/checkpoint").exists());
    }
}

#[test]
fn pictures_that_come_later_are_asked_about() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    pope(&at("POPE"));
    fs::rename(at("POPE/val2014"), at("away")).unwrap();
    let arguments = [
        "eval",
        "--benchmark",
        "pope",
        "--data",
        "POPE",
        "--output",
        "out",
        "--json",
    ];
    let (_, told) = fails(&arguments, folder.path());
    assert!(
        told.contains("none of its questions could be asked"),
        "{told}"
    );
    fs::rename(at("away"), at("POPE/val2014")).unwrap();
    let found = json_of(&succeeds(&arguments, folder.path()));
    assert_eq!(
        (&found["samples"], &found["unreadable"]),
        (&10.into(), &2.into())
    );
}

/// No question is cut unsaid: one that does not fit counts as those whose picture cannot be read.
#[test]
fn a_question_that_is_too_long_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    pope(&at("POPE"));
    let file = at("POPE/coco_pope_random.json");
    let text = fs::read_to_string(&file).unwrap();
    let long = format!("{}Is there", "is there a cat and a dog ".repeat(200));
    fs::write(&file, text.replacen("Is there", &long, 1)).unwrap();
    let eval = ["eval", "--benchmark", "pope", "--data", "POPE", "--json"];
    let found = json_of(&succeeds(
        &[&eval[..], &["--output", "out"]].concat(),
        folder.path(),
    ));
    assert_eq!(
        (&found["samples"], &found["unreadable"]),
        (&10.into(), &3.into())
    );
    let errors = records(&at("out")).into_iter();
    let errors = errors.filter_map(|record| record["error"].as_str().map(str::to_owned));
    let long: Vec<String> = errors.filter(|error| error.contains("tokens")).collect();
    assert_eq!(long.len(), 1, "{long:?}");
    assert!(long[0].contains("max_tokens"), "{long:?}");
}

#[test]
fn options_that_would_change_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    pope(&folder.path().join("POPE"));
    let eval = ["eval", "--benchmark", "pope", "--data", "POPE"];
    for stray in [["--encoder", "miner"], ["--labels", "labels.txt"]] {
        let (_, told) = fails(&[&eval[..], &stray].concat(), folder.path());
        assert!(
            told.contains(stray[0]) && told.contains("--model"),
            "{told}"
        );
    }
    for wrong in [
        &["reproduce", "--seeds", "0"][..],
        &["reproduce", "--jobs", "0"],
        &["ask", "a cat?", "--beams", "100000000"],
        &["bench", "ops", "nosuch"],
        &["generate", " ", "-o", "a.png"],
    ] {
        let (code, told) = fails(wrong, folder.path());
        assert!(!told.contains("panicked"), "{wrong:?}: {told}");
        assert!(matches!(code, Some(1 | 2)), "{wrong:?}: {told}");
    }
}

#[test]
fn a_dry_run_fetches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for what in ["emoji", "smollm2"] {
        let output = deem(
            &["data", "fetch", what, "--dry-run", "--output", "there"],
            folder.path(),
        );
        assert!(output.status.success());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(what) && told.contains("MB"), "{told}");
        assert!(!folder.path().join("there").exists());
    }
}

/// An installed program finds its presets beside it, and says where it looks if they are nowhere.
#[test]
fn assets_are_found_beside_the_program_and_wrong_places_named() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], assets: Option<&str>| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_deem"));
        command.args(arguments).current_dir(folder.path());
        command.env_remove("DEEM_ASSETS");
        command.envs(assets.map(|place| ("DEEM_ASSETS", place)));
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), told)
    };
    let count = ["params", "--json"];
    assert!(run(&count, None).0, "from the source tree");
    assert!(run(&count, Some("")).0, "nothing is stated");
    let (well, told) = run(&count, Some("nowhere"));
    assert!(
        !well && told.contains("DEEM_ASSETS") && told.contains("nowhere"),
        "{told}"
    );
    // What lies beside the program, or where it was installed, is found by its name.
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_deem"), bin.join("deem")).unwrap();
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/standins/tiny");
    for (place, name) in [("bin/assets", "beside"), ("share/deem", "shared")] {
        let preset = folder.path().join(place).join("standins").join(name);
        fs::create_dir_all(&preset).unwrap();
        for file in ["model.toml", "experiment.toml"] {
            fs::copy(tiny.join(file), preset.join(file)).unwrap();
        }
        let output = std::process::Command::new(bin.join("deem"))
            .args(["params", "--json", "--preset", name])
            .env_remove("DEEM_ASSETS")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {told}");
    }
    // A run's file with a model of its own needs none.
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let stage = configs.join("deem-7b-stage3.toml");
    let ask = ["ask", "a", "--offline", "--config", stage.to_str().unwrap()];
    let (well, told) = run(&ask, Some("nowhere"));
    assert!(!well && told.contains("weights."), "{told}");
    assert!(!told.contains("DEEM_ASSETS"), "{told}");
}

#[test]
fn a_mode_of_kernels_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_deem"))
        .args(["params"])
        .current_dir(folder.path())
        .env("DEEM_KERNELS", "foo")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("DEEM_KERNELS") && told.contains("reference"),
        "{told}"
    );
}
