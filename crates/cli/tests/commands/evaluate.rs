//! `deem eval` on tiny folders in the genuine layouts, with the shipped stand-ins; `deem score` on files.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{copy_tree, fails, succeeds};

/// A picture of one colour.
pub(super) fn picture(path: &Path, colour: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_pixel(24, 20, image::Rgb([colour, 120, 255 - colour]))
        .save(path)
        .unwrap();
}

fn pope_line(image: &str, object: &str, label: &str) -> String {
    json!({"image": image, "text": format!("Is there a {object} in the image?"), "label": label})
        .to_string()
        + "\n"
}

/// Two of the three files; one picture is missing, one is broken.
pub(super) fn pope(folder: &Path) {
    fs::create_dir_all(folder.join("val2014")).unwrap();
    for (number, name) in ["1.png", "2.png"].iter().enumerate() {
        picture(&folder.join("val2014").join(name), 60 * number as u8);
    }
    fs::write(folder.join("val2014/broken.png"), "no picture").unwrap();
    let lines = |objects: [&str; 2]| {
        let mut text = String::new();
        for image in ["1.png", "2.png"] {
            text += &pope_line(image, objects[0], "yes");
            text += &pope_line(image, objects[1], "no");
        }
        text
    };
    fs::write(folder.join("coco_pope_random.json"), lines(["cat", "dog"])).unwrap();
    let unreadable = pope_line("missing.png", "car", "yes") + &pope_line("broken.png", "car", "no");
    fs::write(
        folder.join("coco_pope_popular.json"),
        lines(["tree", "apple"]) + &unreadable,
    )
    .unwrap();
}

pub(super) fn robust_vqa(folder: &Path) {
    picture(&folder.join("imagenet-a/n01/1.png"), 10);
    picture(&folder.join("imagenet-a/n02/1.png"), 90);
    picture(&folder.join("imagenet-r/2.png"), 200);
    let entry = |file: &str, truth: &str, mistaken: &str| json!({"file_name": file, "gt_caption": truth, "error_caption": mistaken});
    let lists = json!({
        "imagenet_a": [entry("n01/1.png", "goldfish", "lemon"), entry("n02/1.png", "cat", "dog")],
        "imagenet_r": [entry("2.png", "bus", "car")],
        "imagenet_v2": [],
    });
    fs::write(folder.join("hard_examples.json"), lists.to_string()).unwrap();
}

fn mmvp(folder: &Path) {
    for index in 1..=4u8 {
        picture(&folder.join(format!("MMVP Images/{index}.jpg")), 50 * index);
    }
    let rows = "Index,Question,Options,Correct Answer\n\
        1,Are the wings open or closed?,(a) Open (b) Closed,(a)\n\
        2,Are the wings open or closed?,(a) Open (b) Closed,(b)\n\
        3,\"What color, mostly?\",(a) Red (b) Blue,(b)\n\
        4,\"What color, mostly?\",(a) Red (b) Blue,(a)\n";
    fs::write(folder.join("Questions.csv"), rows).unwrap();
    fs::write(folder.join("patterns.json"), r#"["state", "colour"]"#).unwrap();
}

pub(super) fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

pub(super) fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

pub(super) fn records(output: &Path) -> Vec<Value> {
    let text = fs::read_to_string(output.join("records.jsonl")).unwrap();
    text.lines().map(json_of).collect()
}

#[test]
fn published_layouts_are_evaluated_and_not_asked_twice() {
    let folder = tempfile::tempdir().unwrap();
    let all = folder.path().join("benchmarks");
    pope(&all.join("POPE"));
    robust_vqa(&all.join("robust-vqa"));
    mmvp(&all.join("mmvp"));
    let arguments = [
        "eval",
        "--benchmark",
        "robust-vqa",
        "--benchmark",
        "pope",
        "--benchmark",
        "mmvp",
        "--data",
        "benchmarks",
        "--output",
        "out",
        "--json",
    ];
    let printed = succeeds(&arguments, folder.path());
    let results = json_of(&printed);
    let [robust, pope, mmvp] = [&results[0], &results[1], &results[2]];
    for result in [robust, pope, mmvp] {
        assert_eq!(
            keys(result),
            [
                "benchmark",
                "model",
                "samples",
                "unreadable",
                "unparseable",
                "figures"
            ]
        );
        assert_eq!(result["model"], "warm start");
        for part in result["figures"].as_object().unwrap().values() {
            for figure in part.as_object().unwrap().values() {
                assert_eq!(keys(figure), ["mean", "low", "high"]);
                let mean = figure["mean"].as_f64().unwrap();
                assert!((0.0..=100.0).contains(&mean), "{figure}");
            }
        }
    }
    assert_eq!(
        (&robust["benchmark"], &robust["samples"]),
        (&json!("robust-vqa"), &json!(6))
    );
    assert_eq!(keys(&robust["figures"]), ["mean", "A", "R"]);
    assert_eq!(
        (&pope["samples"], &pope["unreadable"]),
        (&json!(10), &json!(2))
    );
    assert_eq!(keys(&pope["figures"]), ["mean", "random", "popular"]);
    assert_eq!(
        keys(&pope["figures"]["random"]),
        ["accuracy", "precision", "recall", "f1", "yes_ratio"]
    );
    assert_eq!(
        (&mmvp["benchmark"], &mmvp["samples"]),
        (&json!("mmvp"), &json!(4))
    );
    assert_eq!(keys(&mmvp["figures"]), ["all", "colour", "state"]);
    assert_eq!(
        keys(&mmvp["figures"]["state"]),
        ["pair_accuracy", "pair_accuracy_likelihood"]
    );

    let out = folder.path().join("out");
    let lines = records(&out);
    assert_eq!(lines.len(), 20);
    for line in &lines {
        let readable = line["error"].is_null();
        for field in ["id", "prompt", "answer"] {
            assert!(line[field].is_string(), "{field} of {line}");
        }
        assert!(line["score"].is_number() && line["seconds"].is_number());
        assert!(line.get("parsed").is_some());
        assert_eq!(
            line["image_sha256"].as_str().map(str::len),
            readable.then_some(64)
        );
    }
    let right = lines
        .iter()
        .filter(|l| l["benchmark"] == "pope" && l["part"] == "random");
    let right: f64 = right.map(|l| l["score"].as_f64().unwrap()).sum();
    assert_eq!(pope["figures"]["random"]["accuracy"]["mean"], 25.0 * right);
    let choice = lines.iter().find(|l| l["benchmark"] == "mmvp").unwrap();
    assert_eq!(
        choice["likelihood"]["log_probabilities"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    // Again: nothing is asked, the same is said, also as a table.
    let answered = || -> Vec<Value> {
        let records = records(&out).into_iter();
        records.filter(|record| record["error"].is_null()).collect()
    };
    let before = answered();
    assert_eq!(succeeds(&arguments, folder.path()), printed);
    let table = succeeds(&arguments[..arguments.len() - 1], folder.path());
    assert!(
        table.contains("POPE, 10 questions, 2 could not be asked"),
        "{table}"
    );
    assert!(table.contains("pair accuracy"), "{table}");
    assert_eq!(answered(), before);
}

#[test]
fn a_limit_can_be_raised_and_answers_keep_to_their_model_and_questions() {
    let folder = tempfile::tempdir().unwrap();
    pope(&folder.path().join("pope"));
    let run = |more: &[&str]| {
        let arguments = [
            &[
                "eval",
                "--benchmark",
                "pope",
                "--data",
                "pope",
                "--output",
                "out",
                "--json",
            ][..],
            more,
        ];
        succeeds(&arguments.concat(), folder.path())
    };
    let refused = |more: &[&str]| {
        let arguments = [
            &[
                "eval",
                "--benchmark",
                "pope",
                "--data",
                "pope",
                "--output",
                "out",
            ][..],
            more,
        ];
        fails(&arguments.concat(), folder.path())
    };
    let limited = json_of(&run(&["--limit", "3"]));
    assert_eq!(
        (&limited["samples"], &limited["unreadable"]),
        (&json!(3), &json!(0))
    );
    let out = folder.path().join("out");
    let first = records(&out);
    assert_eq!(first.len(), 3);
    let more = json_of(&run(&["--limit", "6"]));
    assert_eq!(more["samples"], 6);
    assert_eq!(records(&out)[..3], first[..]);
    assert_eq!(records(&out).len(), 6);

    // Another float type, other weights, other files.
    let (code, error) = refused(&["--precision", "bf16"]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("out: ") && error.contains("precision f32 there, bf16 now"),
        "{error}"
    );
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/standins/tiny");
    let other = folder.path().join("other");
    copy_tree(&tiny, &other);
    let path = other.join("connect/model.safetensors");
    let mut weights = fs::read(&path).unwrap();
    let last = weights.len() - 1;
    weights[last] ^= 1;
    fs::write(&path, weights).unwrap();
    fs::remove_file(other.join("SHA256SUMS")).unwrap();
    let (_, error) = refused(&["--standins", "other"]);
    assert!(error.contains("the model's weights"), "{error}");
    let file = folder.path().join("pope/coco_pope_random.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("a dog", "a bus")).unwrap();
    let (_, error) = refused(&[]);
    assert!(error.contains("pope: benchmark files"), "{error}");
    assert_eq!(records(&out).len(), 6);
}

#[test]
fn wrong_layouts_and_names_are_told() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["empty", "two"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    for name in ["a.json", "b.json"] {
        fs::write(folder.path().join("two").join(name), "{}").unwrap();
    }
    for (benchmark, data, said) in [
        ("pope", "empty", "coco_pope_random.json"),
        ("mmvp", "empty", "Questions.csv"),
        ("robust-vqa", "empty", "robustvqa.json"),
        ("robust-vqa", "two", "a.json, b.json"),
        ("region", "empty", "region.json"),
        ("pope", "nowhere", "nowhere"),
        ("nonsense", "empty", "robust-vqa, pope, mmvp, region"),
    ] {
        let arguments = [
            "eval",
            "--benchmark",
            benchmark,
            "--data",
            data,
            "-o",
            "out",
        ];
        let (code, error) = fails(&arguments, folder.path());
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains(said), "{benchmark} in {data}: {error}");
    }
    assert!(!folder.path().join("out").exists(), "nothing was begun");
}

/// Many questions, one at a time.
fn many(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let mut text = String::new();
    for number in 0..80u8 {
        let name = format!("{number}.png");
        picture(&folder.join("images").join(&name), 3 * number);
        text += &pope_line(&name, "cat", if number % 2 == 0 { "yes" } else { "no" });
    }
    fs::write(folder.join("coco_pope_adversarial.json"), text).unwrap();
}

const MANY: [&str; 8] = [
    "eval",
    "--benchmark",
    "pope",
    "--data",
    "many",
    "--batch",
    "1",
    "--json",
];

fn start(output: &str, folder: &Path) -> Child {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let child = Command::new(env!("CARGO_BIN_EXE_deem"))
        .args(MANY)
        .args(["--output", output])
        .current_dir(folder)
        .env("DEEM_ASSETS", assets)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    child.expect("the program starts")
}

/// Waits until some questions have been answered, but not all.
fn some_answered(output: &Path) {
    let started = Instant::now();
    let lines =
        || fs::read_to_string(output.join("records.jsonl")).map_or(0, |t| t.lines().count());
    while lines() < 2 {
        assert!(started.elapsed() < Duration::from_secs(120), "no answers");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What does not depend on the clock.
fn timeless(output: &Path) -> Vec<Value> {
    let mut lines = records(output);
    for line in &mut lines {
        line.as_object_mut().unwrap().remove("seconds");
    }
    lines.sort_by_key(|line| line["id"].as_str().map(str::to_owned));
    lines
}

#[cfg(unix)]
#[test]
fn stopped_and_killed_evaluations_go_on_without_loss() {
    let folder = tempfile::tempdir().unwrap();
    many(&folder.path().join("many"));
    let out = |name: &str| folder.path().join(name);
    let whole = succeeds(&[&MANY[..], &["--output", "whole"]].concat(), folder.path());
    assert_eq!(json_of(&whole)["samples"], 80);

    let mut stopped = start("stopped", folder.path());
    some_answered(&out("stopped"));
    let id = i32::try_from(stopped.id()).unwrap();
    // SAFETY: a signal to a process of this test's own, which has not been waited for
    assert_eq!(unsafe { libc::kill(id, libc::SIGINT) }, 0);
    assert_eq!(stopped.wait().unwrap().code(), Some(130));
    let kept = records(&out("stopped"));
    assert!((2..80).contains(&kept.len()), "{}", kept.len());

    let mut killed = start("killed", folder.path());
    some_answered(&out("killed"));
    // A second process is refused for as long as the first one lives, even if it stands still.
    let id = i32::try_from(killed.id()).unwrap();
    // SAFETY: as above
    assert_eq!(unsafe { libc::kill(id, libc::SIGSTOP) }, 0);
    let arguments = [&MANY[..], &["--output", "killed"]].concat();
    let (code, error) = fails(&arguments, folder.path());
    assert!(
        code == Some(1) && error.contains("in use by process"),
        "{error}"
    );
    killed.kill().unwrap();
    killed.wait().unwrap();
    let file = out("killed").join("records.jsonl");
    let cut = fs::read_to_string(&file).unwrap();
    fs::write(&file, &cut[..cut.len() - 7]).unwrap();

    for name in ["stopped", "killed"] {
        let arguments = [&MANY[..], &["--output", name]].concat();
        assert_eq!(succeeds(&arguments, folder.path()), whole, "{name}");
        assert_eq!(records(&out(name)).len(), 80, "{name}");
        assert_eq!(timeless(&out(name)), timeless(&out("whole")), "{name}");
    }
    assert_eq!(records(&out("stopped"))[..kept.len()], kept[..]);
}

#[cfg(unix)]
#[test]
fn making_benchmarks_can_be_stopped() {
    use std::io::{BufRead, BufReader};

    let folder = tempfile::tempdir().unwrap();
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let mut child = Command::new(env!("CARGO_BIN_EXE_deem"))
        .args(["reproduce", "--output", "out"])
        .current_dir(folder.path())
        .env("DEEM_ASSETS", assets)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("making the benchmarks")));
    let id = i32::try_from(child.id()).unwrap();
    // SAFETY: as above
    assert_eq!(unsafe { libc::kill(id, libc::SIGINT) }, 0);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(
        !folder.path().join("out/feedback").exists(),
        "no training began"
    );
}

#[test]
fn anyones_predictions_are_scored() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "results.json",
        r#"[{"image_id": 1, "caption": "a red cat"}, {"image_id": 2, "caption": "two dogs run"}]"#,
    );
    write(
        "annotations.json",
        r#"{"annotations": [{"image_id": 1, "caption": "A red cat."}, {"image_id": 2, "caption": "Two dogs play."}]}"#,
    );
    let captions = [
        "score",
        "captions",
        "--predictions",
        "results.json",
        "--references",
        "annotations.json",
    ];
    let scores = json_of(&succeeds(
        &[&captions[..], &["--json"]].concat(),
        folder.path(),
    ));
    assert_eq!(
        keys(&scores),
        [
            "Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "CIDEr", "METEOR"
        ]
    );
    assert!(succeeds(&captions, folder.path()).contains("CIDEr"));
    write(
        "answers.jsonl",
        "{\"id\": 1, \"text\": \"yes\", \"label\": \"yes\"}\n{\"id\": 2, \"answer\": \"yes\", \"label\": \"no\"}\n",
    );
    let scores = succeeds(
        &[
            "score",
            "yes_no",
            "--predictions",
            "answers.jsonl",
            "--json",
        ],
        folder.path(),
    );
    assert_eq!(json_of(&scores)["accuracy"], 50.0);
    for (arguments, said) in [
        (
            &["score", "captions", "--predictions", "results.json"][..],
            "--references",
        ),
        (
            &[
                "score",
                "captions",
                "--predictions",
                "answers.jsonl",
                "--references",
                "annotations.json",
            ],
            "line 1",
        ),
        (
            &["score", "fid", "--predictions", "results.json"],
            "yes-no, vqa, mmvp",
        ),
        (
            &["score", "yes-no", "--predictions", "missing.jsonl"],
            "missing.jsonl",
        ),
    ] {
        let (code, error) = fails(arguments, folder.path());
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
}
