//! The commands of the README, run as a user would, with the shipped stand-ins.

#[path = "commands/benchmarks.rs"]
mod benchmarks;
#[path = "commands/data.rs"]
mod data;
#[path = "commands/doctor.rs"]
mod doctor;
#[path = "commands/encoder_study.rs"]
mod encoder_study;
#[path = "commands/evaluate.rs"]
mod evaluate;
#[path = "commands/feedback.rs"]
mod feedback;
#[path = "commands/fetch.rs"]
mod fetch;
#[path = "commands/first_hour.rs"]
mod first_hour;
#[path = "commands/frechet.rs"]
mod frechet;
#[path = "../../model/tests/model/support/generated.rs"]
mod generated;

#[path = "commands/pretrain.rs"]
mod pretrain;
#[path = "commands/reproducible.rs"]
mod reproducible;
#[path = "commands/results.rs"]
mod results;
#[path = "../../data/tests/support/server.rs"]
mod server;
#[path = "commands/wild.rs"]
mod wild;
#[path = "commands/worlds.rs"]
mod worlds;

use std::path::Path;
use std::process::{Command, Output};

fn deem(arguments: &[&str], folder: &Path) -> Output {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    Command::new(env!("CARGO_BIN_EXE_deem"))
        .args(arguments)
        .current_dir(folder)
        .env("DEEM_ASSETS", assets)
        .output()
        .expect("the program starts")
}

fn succeeds(arguments: &[&str], folder: &Path) -> String {
    let output = deem(arguments, folder);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).expect("text")
}

fn fails(arguments: &[&str], folder: &Path) -> (Option<i32>, String) {
    let output = deem(arguments, folder);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// A picture of the built-in world.
fn picture(folder: &Path) -> String {
    succeeds(
        &[
            "data",
            "inspect",
            "--count",
            "1",
            "--source",
            "diffusion",
            "-o",
            "seen",
        ],
        folder,
    );
    "seen/0000-0.png".into()
}

#[test]
fn every_command_of_the_readme_is_understood() {
    let readme = include_str!("../../../README.md");
    let folder = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for line in readme
        .lines()
        .filter_map(|line| line.strip_prefix("    deem "))
    {
        let line = line.split(" # ").next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let subcommand = words.next().unwrap();
        let mut help = succeeds(&[subcommand, "--help"], folder.path());
        if help.contains("Commands:") {
            let own = words.next().expect("a command of its own");
            help = succeeds(&[subcommand, own, "--help"], folder.path());
        }
        for flag in line
            .split_whitespace()
            .filter(|word| word.starts_with("--"))
        {
            assert!(help.contains(flag), "{subcommand} has no {flag}");
        }
        seen += 1;
    }
    assert!(seen >= 6, "the README shows only {seen} commands");
}

/// The program says which commit it was built from, not that of the folder it runs in.
#[test]
fn the_version_names_the_commit_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let git = |folder: &Path, arguments: &[&str]| {
        let identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"];
        let mut git = Command::new("git");
        let output = git
            .args(identity)
            .args(arguments)
            .current_dir(folder)
            .output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).unwrap())
    };
    let said = succeeds(&["--version"], folder.path());
    let version = concat!("deem ", env!("CARGO_PKG_VERSION"), " (");
    assert!(
        said.starts_with(version) && said.ends_with(")\n"),
        "{said:?}"
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if root.join(".git").exists()
        && std::env::var_os("DEEM_COMMIT").is_none()
        && let Some(head) = git(&root, &["rev-parse", "--short=12", "HEAD"])
    {
        assert!(said.contains(head.trim()), "{said} at {head}");
    }
    // Another repository around it changes nothing.
    if git(folder.path(), &["init"]).is_some() {
        git(folder.path(), &["commit", "--allow-empty", "-m", "x"]).unwrap();
        assert_eq!(succeeds(&["--version"], folder.path()), said);
    }
}

#[test]
fn asking_restoring_and_drawing_work() {
    let folder = tempfile::tempdir().unwrap();
    let image = picture(folder.path());
    let answer = succeeds(
        &[
            "ask",
            &image,
            "What color is the background?",
            "--json",
            "--max-new-tokens",
            "4",
        ],
        folder.path(),
    );
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert!(answer["answer"].is_string() && answer["model"] == "warm start");
    succeeds(
        &["restore", &image, "-o", "out.png", "--steps", "3"],
        folder.path(),
    );
    succeeds(
        &[
            "generate",
            "two dogs on a white background",
            "-o",
            "drawn.png",
            "--steps",
            "3",
        ],
        folder.path(),
    );
    for file in ["out.png", "drawn.png"] {
        let drawn = image::open(folder.path().join(file)).unwrap().to_rgb8();
        assert_eq!(drawn.width(), drawn.height());
        let first = drawn.get_pixel(0, 0);
        assert!(drawn.pixels().any(|p| p != first), "{file} is empty");
    }
}

#[test]
fn adaptation_changes_nothing_on_disk_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    let image = picture(folder.path());
    let arguments = [
        "ask",
        &image,
        "How many dogs are there?",
        "--tta",
        "--tta-steps",
        "1",
    ];
    assert!(!succeeds(&arguments, folder.path()).trim().is_empty());
}

#[test]
fn parameters_are_counted_without_weights() {
    let folder = tempfile::tempdir().unwrap();
    let report = succeeds(&["params", "--json"], folder.path());
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let sum = |field: &str| -> u64 {
        let components = report["components"].as_object().unwrap();
        components
            .values()
            .map(|c| c[field].as_u64().unwrap())
            .sum()
    };
    assert_eq!(report["total"], sum("total"));
    assert_eq!(report["trainable"], sum("trainable"));
    assert!(report["trainable"].as_u64() < report["total"].as_u64());
}

/// The model of seven billion parameters is counted in a moment: nothing of it is allocated.
#[test]
fn full_size_models_are_counted_without_allocating_them() {
    let folder = tempfile::tempdir().unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/deem-7b-stage1.toml");
    let config = config.to_str().unwrap();
    let arguments = ["params", "--json", "--config", config];
    let report: serde_json::Value =
        serde_json::from_str(&succeeds(&arguments, folder.path())).unwrap();
    assert!(report["total"].as_u64().unwrap() > 7_000_000_000);
    let component = &report["components"]["llama.mmfs"];
    assert_eq!(component["total"], component["trainable"]);
    let with = |set| {
        let arguments = [&arguments[..], &["--set", set]].concat();
        serde_json::from_str::<serde_json::Value>(&succeeds(&arguments, folder.path())).unwrap()
    };
    let fewer = with("model.llama.num_hidden_layers=16");
    assert!(fewer["total"].as_u64() < report["total"].as_u64());
    let (_, error) = fails(
        &["params", "--config", config, "--set", "model.image_sise=3"],
        folder.path(),
    );
    assert!(error.contains("image_sise"), "{error}");
}

#[test]
fn memory_is_estimated_without_weights() {
    let folder = tempfile::tempdir().unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/deem-7b-stage1.toml");
    let arguments = ["doctor", "--json", "--config", config.to_str().unwrap()];
    let report: serde_json::Value =
        serde_json::from_str(&succeeds(&arguments, folder.path())).unwrap();
    let need = |precision: usize, name: &str| {
        let uses = &report["estimates"][precision]["uses"];
        uses[name]["total"].as_u64().unwrap()
    };
    assert!(need(0, "training") > need(1, "training"), "bf16 needs less");
    assert!(need(1, "training") > need(1, "inference"));
    assert!(need(0, "inference") > need(0, "answers"));
    assert!(
        need(0, "inference") > need(2, "inference"),
        "stored in 16 bits"
    );
    let machine = &report["devices"][0];
    if let Some(bytes) = machine["bytes"].as_u64() {
        assert_eq!(machine["fits"]["training"], need(2, "training") <= bytes);
    }
    let text = succeeds(&["doctor"], folder.path());
    assert!(
        text.contains("training") && text.contains("this machine"),
        "{text}"
    );
}

#[test]
fn pickles_are_converted_and_programs_refused() {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden");
    let pickle = golden.join("pickle_wrapped.pt");
    let pickle = pickle.to_str().unwrap();
    let written = succeeds(&["convert", pickle, "out.safetensors"], folder.path());
    assert_eq!(written.trim(), "out.safetensors");
    let bytes = std::fs::read(folder.path().join("out.safetensors")).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    assert_eq!(header["part"]["shape"], serde_json::json!([2, 3]));
    assert_eq!(header["brain"]["dtype"], "BF16");
    let (_, error) = fails(&["convert", pickle, "out.safetensors"], folder.path());
    assert!(error.contains("already there"), "{error}");

    std::fs::create_dir(folder.path().join("hub")).unwrap();
    std::fs::write(
        folder.path().join("hub/pytorch_model.bin"),
        std::fs::read(pickle).unwrap(),
    )
    .unwrap();
    std::fs::write(folder.path().join("hub/config.json"), "{}").unwrap();
    succeeds(&["convert", "hub", "converted"], folder.path());
    for name in ["model.safetensors", "config.json"] {
        assert!(
            folder.path().join("converted").join(name).is_file(),
            "{name}"
        );
    }

    let evil = b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.";
    std::fs::write(folder.path().join("evil.pt"), evil).unwrap();
    let (code, error) = fails(&["convert", "evil.pt", "evil.safetensors"], folder.path());
    assert_eq!(code, Some(1));
    assert!(
        error.contains("evil.pt") && error.contains("os.system"),
        "{error}"
    );
    let (_, error) = fails(&["convert", "hf://a/b", "x", "--offline"], folder.path());
    assert!(error.contains("--offline"), "{error}");
}

#[test]
fn quantised_weights_become_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden");
    let gguf = golden.join("gguf_llama.gguf");
    let converted = succeeds(&["convert", gguf.to_str().unwrap(), "out"], folder.path());
    assert_eq!(converted.trim(), "out/model.safetensors");
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        let text = std::fs::read_to_string(folder.path().join("out").join(name)).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }
    // The same network from either.
    let config = folder.path().join("out/config.json");
    let weights = folder.path().join("out/model.safetensors");
    let reference = golden.join("gguf_llama.safetensors");
    let inputs = folder.path().join("in.safetensors");
    let ids = deem_model::weights::WeightsFile::open(&reference).unwrap();
    let ids = ids.i64("input_ids").unwrap();
    write_ids(&inputs, &ids);
    for (weights, output) in [(&gguf, "a.safetensors"), (&weights, "b.safetensors")] {
        let [config, weights, inputs] =
            [&config, weights, &inputs].map(|path| path.to_str().unwrap());
        succeeds(
            &[
                "probe",
                "llama",
                "--config",
                config,
                "--weights",
                weights,
                "--inputs",
                inputs,
                "--outputs",
                output,
            ],
            folder.path(),
        );
    }
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert_eq!(read("a.safetensors"), read("b.safetensors"));
}

/// A safetensors file with one row of `input_ids`.
fn write_ids(path: &Path, ids: &[i64]) {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let header = format!(
        r#"{{"input_ids":{{"dtype":"I64","shape":[1,{}],"data_offsets":[0,{}]}}}}"#,
        ids.len(),
        bytes.len()
    );
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(path, [&length[..], header.as_bytes(), &bytes].concat()).unwrap();
}

#[test]
fn a_model_without_its_language_model_says_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let (code, error) = fails(&["ask", "--preset", "smol", "Hello?"], folder.path());
    assert_eq!(code, Some(1));
    assert!(error.contains("deem data fetch smollm2"), "{error}");
    let counted = succeeds(&["params", "--preset", "smol", "--json"], folder.path());
    let counted: serde_json::Value = serde_json::from_str(&counted).unwrap();
    let llama = counted["components"]["llama"]["total"].as_u64().unwrap();
    assert_eq!(llama, 134_515_008, "SmolLM2-135M");
    let (_, error) = fails(&["pretrain", "clip", "--preset", "smol"], folder.path());
    assert!(error.contains("../tiny"), "{error}");
}

#[test]
fn questions_need_no_picture() {
    let folder = tempfile::tempdir().unwrap();
    let answer = succeeds(
        &[
            "ask",
            "Is a cat an animal?",
            "--max-new-tokens",
            "3",
            "--json",
        ],
        folder.path(),
    );
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert!(
        answer["answer"].is_string() && answer["image"].is_null(),
        "{answer}"
    );
    let (_, error) = fails(&["ask", "Why?", "--tta"], folder.path());
    assert!(error.contains("need a picture"), "{error}");
}

#[test]
fn configurations_are_printed_checked_and_overridden() {
    let folder = tempfile::tempdir().unwrap();
    let one = [
        "train",
        "--print-config",
        "--stage",
        "stage1",
        "--set",
        "batch=3",
    ];
    let config = succeeds(&one, folder.path());
    assert!(
        config.contains("batch = 3") && !config.contains("stages"),
        "{config}"
    );
    std::fs::write(
        folder.path().join("run.toml"),
        config + "\nlearning_speed = 1\n",
    )
    .unwrap();
    let (code, message) = fails(&["train", "run.toml"], folder.path());
    assert_eq!(code, Some(1));
    assert!(
        message.contains("run.toml") && message.contains("learning_speed"),
        "{message}"
    );

    let all = ["train", "--print-config", "--set", "stages.1.batch=3"];
    let config = succeeds(&all, folder.path());
    assert_eq!(config.matches("batch = 3\n").count(), 1, "{config}");
    assert_eq!(config.matches("[[stages]]").count(), 3, "{config}");
    std::fs::write(folder.path().join("list.toml"), &config).unwrap();
    let again = ["train", "list.toml", "--print-config"];
    assert_eq!(succeeds(&again, folder.path()), config);
    let (_, message) = fails(&[&again[..], &["--set", "batch=3"]].concat(), folder.path());
    assert!(message.contains("stages.0.batch"), "{message}");
    let (_, message) = fails(&[&again[..], &["--stage", "four"]].concat(), folder.path());
    assert!(message.contains("stage1, stage2, stage3"), "{message}");
}

/// Arguments that make the preset's stages take a moment.
fn quick_stages() -> Vec<String> {
    (0..3)
        .flat_map(|stage| {
            [
                "batch=2",
                "train.schedule.steps=1",
                "train.schedule.warmup=0",
                "train.probe_every=0",
            ]
            .map(|field| ["--set".to_owned(), format!("stages.{stage}.{field}")])
        })
        .flatten()
        .collect()
}

#[test]
fn stages_follow_one_another_and_only_the_same_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let quick = quick_stages();
    let arguments: Vec<&str> = ["train", "-o", "run"]
        .into_iter()
        .chain(quick.iter().map(String::as_str))
        .collect();
    let done = succeeds(&arguments, folder.path());
    assert_eq!(done, "run/stage3/checkpoint/model.safetensors\n");
    let keys = |stage: &str| -> Vec<String> {
        let checkpoint = folder.path().join("run").join(stage).join("checkpoint");
        let file = deem_model::weights::WeightsFile::open(&checkpoint.join("model.safetensors"));
        file.unwrap().keys().map(str::to_owned).collect()
    };
    let last = keys("stage3");
    assert!(keys("stage1").iter().all(|key| last.contains(key)));
    assert_eq!(
        succeeds(&arguments, folder.path()),
        done,
        "nothing is left to do"
    );

    let other = [&arguments[..], &["--set", "stages.1.loss.image=2.0"]].concat();
    let (code, message) = fails(&other, folder.path());
    assert_eq!(code, Some(1));
    assert!(
        message.contains("run/stage2") && message.contains("loss.image: 0.0 there, 2.0 now"),
        "{message}"
    );
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let config = text("run/stage2/config.toml");
    assert!(config.contains("image = 0.0"), "{config}");
    let identity: serde_json::Value = serde_json::from_str(&text("run/stage2/run.json")).unwrap();
    assert_eq!(identity["task"], "stage2");
    assert!(identity["weights"]["from"].is_string(), "{identity}");

    // One stage alone goes on where the one before it ended, if it has.
    let single = |output: &'static str| {
        let shorter = ["train.schedule.steps=1", "train.schedule.warmup=0"];
        let quick = ["--set", "batch=2", "--set", shorter[0], "--set", shorter[1]];
        [&["train", "--stage", "stage2", "-o", output][..], &quick].concat()
    };
    let (_, message) = fails(&single("new"), folder.path());
    assert!(
        message.contains("stage2 starts from stage1") && message.contains("--from"),
        "{message}"
    );
    let from = [&single("new")[..], &["--from", "run/stage1"]].concat();
    assert_eq!(
        succeeds(&from, folder.path()),
        "new/stage2/checkpoint/model.safetensors\n"
    );
    let weights = |run: &str| std::fs::read(folder.path().join(run)).unwrap();
    assert!(
        weights("new/stage2/checkpoint/model.safetensors")
            == weights("run/stage2/checkpoint/model.safetensors"),
        "one way or the other"
    );
}

#[cfg(unix)]
#[test]
fn a_run_is_interrupted_orderly_and_used_by_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "train",
        "--stage",
        "stage1",
        "-o",
        "run",
        "--set",
        "batch=2",
        "--set",
        "train.schedule.steps=9999",
    ];
    let mut child = Command::new(env!("CARGO_BIN_EXE_deem"))
        .args(arguments)
        .current_dir(folder.path())
        .env(
            "DEEM_ASSETS",
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets"),
        )
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let log = folder.path().join("run/stage1/metrics.jsonl");
    let started = std::time::Instant::now();
    while std::fs::read_to_string(&log).map_or(0, |text| text.lines().count()) < 2 {
        assert!(
            started.elapsed().as_secs() < 300,
            "no step after five minutes"
        );
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let (code, message) = fails(&arguments, folder.path());
    assert_eq!(code, Some(1));
    let process = format!("in use by process {}", child.id());
    assert!(
        message.contains(&process) && message.contains("run/stage1"),
        "{message}"
    );
    let signal = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(signal.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(
        folder
            .path()
            .join("run/stage1/checkpoint/state.json")
            .is_file()
    );
}

#[test]
fn bad_input_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (code, message) = fails(&["ask", "missing.png", "Why?"], folder.path());
    assert_eq!(code, Some(1));
    assert!(message.contains("missing.png"), "{message}");
    assert_eq!(message.matches("No such file").count(), 1, "{message}");
    std::fs::write(
        folder.path().join("broken.png"),
        b"\x89PNG\r\n\x1a\nnothing",
    )
    .unwrap();
    let (_, message) = fails(&["ask", "broken.png", "Why?"], folder.path());
    assert!(message.contains("broken.png"), "{message}");
    let image = picture(folder.path());
    let (_, message) = fails(
        &["ask", &image, "Why?", "--max-megapixels", "0"],
        folder.path(),
    );
    assert!(message.contains("--max-megapixels"), "{message}");
    image::GrayImage::new(3, 3)
        .save(folder.path().join("mask.png"))
        .unwrap();
    let (_, message) = fails(
        &["ask", &image, "Why?", "--mask", "mask.png"],
        folder.path(),
    );
    assert!(message.contains("3x3"), "{message}");
    let (code, _) = fails(&["ask"], folder.path());
    assert_eq!(code, Some(2));
}

#[test]
fn damaged_weights_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/standins/tiny");
    let copy = folder.path().join("standins");
    copy_tree(&source, &copy);
    let weights = copy.join("llm/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let image = picture(folder.path());
    let (_, message) = fails(
        &["ask", &image, "Why?", "--standins", "standins"],
        folder.path(),
    );
    assert!(
        message.contains("checksum") && message.contains("llm"),
        "{message}"
    );
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn benches_need_no_weights_and_can_be_repeated_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let quick = ["--runs", "1", "--warmup", "0", "--json"];
    let drawn = [
        &["bench", "generate", "--preset", "tiny", "--steps", "2"][..],
        &["--dump", "dumped"],
        &quick,
    ];
    let report = succeeds(&drawn.concat(), folder.path());
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert!(report["seconds_median"].as_f64().unwrap() > 0.0);
    for name in ["weights.safetensors", "inputs.safetensors", "generate.json"] {
        assert!(folder.path().join("dumped").join(name).is_file(), "{name}");
    }
    let step = ["bench", "train-step", "--peak-tflops", "2"];
    let step = [&step[..], &quick].concat();
    let report = succeeds(&step, folder.path());
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let figure = |name: &str| report[name].as_f64().unwrap();
    let share = figure("model_teraflops_per_second_median") / 2.0;
    let told = figure("model_flops_utilization_median");
    assert!(share > 0.0 && (told - share).abs() < 1e-9, "{told} {share}");
    assert!(figure("tokens_per_second_median") > 0.0);
    if !cfg!(feature = "mpi") {
        let (_, error) = fails(&[&step[..], &["--processes", "2"]].concat(), folder.path());
        assert!(error.contains("--features mpi"), "{error}");
    }
    let ops = [&["bench", "ops", "rms_norm"][..], &quick].concat();
    let report = succeeds(&ops, folder.path());
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["ops"].as_array().unwrap().len(), 1);
    let (_, error) = fails(&["bench", "ask", "--preset", "none"], folder.path());
    assert!(
        error.contains("tiny") && error.contains("model.toml"),
        "{error}"
    );
}

#[test]
fn the_small_preset_fits_together() {
    let folder = tempfile::tempdir().unwrap();
    let small = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/standins/small");
    let counted = succeeds(
        &["params", "--json", "--standins", small.to_str().unwrap()],
        folder.path(),
    );
    let counted: serde_json::Value = serde_json::from_str(&counted).unwrap();
    let all = counted["total"].as_u64().unwrap();
    assert!((55_000_000..70_000_000).contains(&all), "{all}");
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error_to_report() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_deem"))
        .args(["params", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
}

/// Everywhere, not in single commands.
#[test]
fn device_and_precision_are_options_of_all_commands() {
    let folder = tempfile::tempdir().unwrap();
    let wide = succeeds(&["ask", "A red", "--max-new-tokens", "3"], folder.path());
    let narrow = [
        "ask",
        "A red",
        "--max-new-tokens",
        "3",
        "--precision",
        "bf16",
    ];
    assert_eq!(succeeds(&narrow, folder.path()), wide);
    for (device, said) in [
        ("tpu", "expected \"cpu\", \"cuda:N\" or \"wgpu:N\""),
        ("cuda:65535", "device \"cuda:65535\": looked for"),
    ] {
        for command in [
            &["ask", "A red"][..],
            &["train"],
            &["generate", "A red fox", "-o", "fox.png"],
        ] {
            let arguments = [command, &["--device", device]].concat();
            let (code, error) = fails(&arguments, folder.path());
            assert_eq!(code, Some(1), "{arguments:?}: {error}");
            assert!(error.contains(said), "{arguments:?}: {error}");
        }
    }
    let (code, error) = fails(&["ask", "A red", "--precision", "fp8"], folder.path());
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("expected \"f32\" or \"bf16\""), "{error}");
}

/// Own data on disk, looked at before a run: a source by itself, and as a run's file has it.
#[test]
fn data_of_ones_own_is_listed_inspected_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    picture(folder);
    let listed = succeeds(&["data", "list"], folder);
    for kind in ["captions", "llava", "webdataset", "world", "weight"] {
        assert!(listed.contains(kind), "{listed}");
    }
    let lines = "{\"image\": \"0000-0.png\", \"caption\": \"Some Drawings here.\"}\n\
                 {\"image\": \"0000-0.png\", \"caption\": \"short\"}\n";
    std::fs::write(folder.join("c.jsonl"), lines).unwrap();
    let source = "{ kind = \"captions\", file = \"c.jsonl\", images = \"seen\", rules = { caption_first = 0.0 } }";
    let shown = succeeds(
        &["data", "inspect", "--source", source, "-o", "own"],
        folder,
    );
    assert!(
        shown.contains("<s><soi><image 0>[ some drawings here.][</s>]"),
        "{shown}"
    );
    let samples = std::fs::read_to_string(folder.join("own/samples.jsonl")).unwrap();
    assert_eq!(samples.lines().count(), 1);
    let figures = succeeds(&["data", "stats", "--json", "--source", source], folder);
    let figures: serde_json::Value = serde_json::from_str(&figures).unwrap();
    assert_eq!(figures["looked_at"], 2);
    assert_eq!(figures["dropped"]["caption too short"], 1);

    // Paths of a run's file start from its folder.
    std::fs::create_dir(folder.join("run")).unwrap();
    let run = format!(
        "[[stages]]\nname = \"a\"\ndata = [{}]\n",
        source.replace("\"c.jsonl\"", "\"../c.jsonl\"")
    );
    let run = run.replace("\"seen\"", "\"../seen\"");
    std::fs::write(folder.join("run/run.toml"), run).unwrap();
    let asked = ["data", "inspect", "--config", "run/run.toml", "--stage"];
    let shown = succeeds(&[&asked[..], &["a", "-o", "own"]].concat(), folder);
    assert!(shown.contains("some drawings here."), "{shown}");
    let (_, error) = fails(&[&asked[..], &["b"]].concat(), folder);
    assert!(error.contains("no stage \"b\""), "{error}");
    let (_, error) = fails(
        &["data", "inspect", "--source", "{ kind = \"captions\" }"],
        folder,
    );
    assert!(
        error.contains("data[0]") && error.contains("file"),
        "{error}"
    );
}
