//! What people really type, and really have.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{deem, fails, picture, succeeds};

fn program(folder: &Path) -> Command {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let mut command = Command::new(env!("CARGO_BIN_EXE_deem"));
    command.current_dir(folder).env("DEEM_ASSETS", assets);
    command
}

/// Commands that end soon; `PIC` is a picture.
const QUICK: [&[&str]; 12] = [
    &["params"],
    &["params", "--json"],
    &["doctor"],
    &["doctor", "--json"],
    &["doctor", "."],
    &["data", "list"],
    &["data", "stats", "--count", "2"],
    &["train", "--print-config"],
    &["ask", "PIC", "Is there a cat?", "--max-new-tokens", "2"],
    &[
        "ask",
        "PIC",
        "Is there a cat?",
        "--max-new-tokens",
        "2",
        "--json",
    ],
    &["ask", "a cat", "--max-new-tokens", "2"],
    &["restore", "PIC", "-o", "out.png", "--steps", "1"],
];

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let seen = picture(folder.path());
    for arguments in QUICK {
        let arguments = arguments
            .iter()
            .map(|word| if *word == "PIC" { seen.as_str() } else { word });
        let arguments: Vec<&str> = arguments.collect();
        let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
        let output = program(folder.path())
            .args(&arguments)
            .stdout(full())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(!told.contains("panicked"), "{arguments:?}: {told}");
        let output = program(folder.path())
            .args(&arguments)
            .stderr(full())
            .output()
            .unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{arguments:?}");
    }
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_are_no_obstacle() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let seen = picture(folder.path());
    let odd = OsStr::from_bytes(b"p\xff.png");
    std::fs::copy(folder.path().join(seen), folder.path().join(odd)).unwrap();
    let output = program(folder.path())
        .args([
            OsStr::new("ask"),
            odd,
            OsStr::new("a cat?"),
            OsStr::new("--json"),
        ])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(line["image"].as_str().unwrap().starts_with('p'));
    let output = program(folder.path())
        .args([OsStr::new("ask"), OsStr::from_bytes(b"a\xff?")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("UTF-8"));
}

#[test]
fn words_and_options_come_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let seen = picture(folder.path());
    let answer = |arguments: &[&str]| {
        let line: serde_json::Value =
            serde_json::from_str(&succeeds(arguments, folder.path())).unwrap();
        line["answer"].as_str().unwrap().to_owned()
    };
    let question = "Is there a cat in the image? Please answer yes or no.";
    let first = answer(&["ask", &seen, question, "--json"]);
    assert_eq!(answer(&["ask", &seen, "--json", question]), first);
    assert_eq!(answer(&["ask", question, "--json", &seen]), first);

    let mut child = program(folder.path())
        .args(["ask", "-", question])
        .stdin(File::open(folder.path().join(&seen)).unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
    let lines = format!(
        "{{\"id\": 7, \"image\": \"{seen}\", \"question\": \"{question}\"}}\n\n{{\"question\": \"a cat\"}}\n"
    );
    std::fs::write(folder.path().join("asked.jsonl"), lines).unwrap();
    let told = succeeds(
        &["ask", "--batch", "asked.jsonl", "--max-new-tokens", "4"],
        folder.path(),
    );
    let told: Vec<serde_json::Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((told.len(), &told[0]["id"]), (2, &serde_json::json!(7)));

    let mut child = program(folder.path())
        .args(["ask", "--batch", "-", "--max-new-tokens", "2"])
        .stdin(File::open(folder.path().join("asked.jsonl")).unwrap())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
    // A preset that was named is not taken for none.
    let output = deem(
        &["ask", "a cat", "--max-new-tokens", "1", "--model", "tiny"],
        folder.path(),
    );
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!told.contains("no trained run found"), "{told}");

    for (name, text) in [
        ("words.png", "not a picture"),
        ("empty.jsonl", "\n"),
        (
            "gone.jsonl",
            "{\"question\": \"a\"}\n{\"question\": \"b\", \"image\": \"gone.png\"}\n",
        ),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    for (arguments, expected) in [
        (
            &["ask", &seen, question, "--max-new-tokens", "0"][..],
            "at least 1",
        ),
        (&["ask", &seen, question, "--beams", "-1"], "--beams"),
        (
            &["ask", &seen, question, "--max-megapixels", "99999999999999"],
            "--max-megapixels",
        ),
        (
            &["restore", &seen, "-o", "x.png", "--strength", "NaN"],
            "0 to 1",
        ),
        (
            &["restore", &seen, "-o", "x.png", "--guidance", "inf"],
            "from 0 to 100",
        ),
        (
            &["restore", &seen, "-o", "x.png", "--guidance", "1e38"],
            "from 0 to 100",
        ),
        (
            &["restore", &seen, "-o", "x.png", "--seed", "-1"],
            "whole number from 0 on",
        ),
        (
            &["ask", &seen, question, "--max-megapixels", "-1"],
            "from 1 to 100000",
        ),
        (
            &[
                "eval",
                "--benchmark",
                "pope",
                "--data",
                ".",
                "--limit",
                "-1",
            ],
            "whole number from 1 on",
        ),
        (&["data", "stats", "--count", "0"], "at least 1"),
        (&["ask", "gone.jpg"], "gone.jpg: not there"),
        (&["ask", "words.png", "what?"], "PNG, JPEG"),
        (&["ask", "--batch", "empty.jsonl"], "no question"),
        (&["ask", "--batch", "gone.jsonl"], "gone.jsonl:2"),
        (&["restore", &seen, "-o", "nowhere/x.png"], "nowhere"),
        (&["generate", "a cat", "-o", "x.txt"], "x.txt"),
        (&["ask", &seen, "how", "many"], "quotes"),
        (&["ask", "gone.png", "how many?"], "gone.png"),
        (&["ask", "a", "--preset", "tinny"], "tiny"),
        (&["ask", "a", "--device", "gpu"], "cuda:N"),
        (&["chat", "--images", "nowhere"], "nowhere"),
    ] {
        let (_, error) = fails(arguments, folder.path());
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert!(!error.contains("panicked"), "{arguments:?}: {error}");
    }
    let long = "is there a cat and a dog ".repeat(200);
    let (_, error) = fails(&["ask", &seen, &long], folder.path());
    assert!(error.contains("tokens"), "{error}");
    let (_, error) = fails(&["generate", &long, "-o", "x.png"], folder.path());
    assert!(error.contains("the text to draw has"), "{error}");
    assert!(!folder.path().join("x.png").exists());
}

#[test]
fn of_pictures_nothing_is_cut_off_unsaid() {
    let folder = tempfile::tempdir().unwrap();
    let wide = image::RgbImage::from_pixel(64, 32, image::Rgb([200, 20, 20]));
    wide.save(folder.path().join("wide.png")).unwrap();
    let told = |arguments: &[&str]| {
        let output = deem(arguments, folder.path());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let fast = ["--max-new-tokens", "1"];
    let ask = |more: &[&str]| told(&[&["ask", "wide.png", "what?"][..], more, &fast[..]].concat());
    assert!(ask(&[]).contains("seen whole"), "{}", ask(&[]));
    assert!(ask(&["--fit", "crop"]).contains("only the centre 32x32"));

    let mask =
        image::ImageBuffer::from_fn(64, 32, |x, _| image::Luma([if x < 9 { 7_u16 } else { 0 }]));
    mask.save(folder.path().join("mask.png")).unwrap();
    image::GrayImage::new(64, 32)
        .save(folder.path().join("empty.png"))
        .unwrap();
    succeeds(
        &["ask", "wide.png", "--mask", "mask.png", "--mask-id", "7"],
        folder.path(),
    );
    let (_, error) = fails(
        &["ask", "wide.png", "--mask", "mask.png", "--mask-id", "8"],
        folder.path(),
    );
    assert!(error.contains("region 8") && error.contains('7'), "{error}");
    let (_, error) = fails(&["ask", "wide.png", "--mask", "empty.png"], folder.path());
    assert!(error.contains("empty"), "{error}");
}

#[test]
fn a_doctor_looks_at_folders() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("config.json", r#"{"model_type": "cohere", "x": NaN}"#);
    let (code, error) = fails(&["doctor", "."], folder.path());
    assert_eq!(code, Some(1), "{error}");
    let told = String::from_utf8(deem(&["doctor", "."], folder.path()).stdout).unwrap();
    assert!(
        told.contains("model_type") && told.contains("no weights"),
        "{told}"
    );
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n";
    for name in [
        "model.safetensors",
        "model.bin",
        "model.gguf",
        "tokenizer.json",
        "config.json",
    ] {
        write(name, pointer);
    }
    for name in ["model.safetensors", "model.bin", "model.gguf", "."] {
        let told = String::from_utf8(deem(&["doctor", name], folder.path()).stdout).unwrap();
        assert!(told.contains("git lfs pull"), "{name}: {told}");
    }
    let golden =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden/pickle_beside.pt");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/standins/tiny");
    let told = succeeds(&["doctor", shipped.to_str().unwrap()], folder.path());
    assert!(told.contains("a preset"), "{told}");
    let told = succeeds(&["doctor", golden.to_str().unwrap()], folder.path());
    assert!(
        told.contains("a pickle of 2 tensors") && told.contains("argparse.Namespace"),
        "{told}"
    );
}

#[test]
fn shells_and_manuals_know_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            succeeds(&["completions", shell], folder.path()).contains("max-new-tokens"),
            "{shell}"
        );
    }
    succeeds(&["man", "."], folder.path());
    assert!(folder.path().join("deem-ask.1").is_file());
}
