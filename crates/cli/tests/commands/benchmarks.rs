//! Every benchmark on a small sample in its genuine layout, with the shipped stand-ins; shares, comparisons, and a
//! RobustVQA of one's own.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::evaluate::{json_of, keys, picture, pope, robust_vqa};
use super::{fails, succeeds};

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn coco(id: u64) -> String {
    format!("COCO_val2014_{id:012}.jpg")
}

/// A question about picture 42, answered by ten people.
fn vqa(folder: &Path, prefix: &str) {
    picture(&folder.join("val2014").join(coco(42)), 40);
    let questions = json!({"data_subtype": "val2014", "questions": [
        {"question_id": 420, "image_id": 42, "question": "What color is it?"},
        {"question_id": 421, "image_id": 42, "question": "Is it red?"}]});
    let answers = |word: &str| -> Vec<Value> {
        (1..=10)
            .map(|id| json!({"answer": word, "answer_confidence": "yes", "answer_id": id}))
            .collect()
    };
    let annotations = json!({"annotations": [
        {"question_id": 420, "image_id": 42, "question_type": "what color", "answer_type": "other", "answers": answers("blue")},
        {"question_id": 421, "image_id": 42, "question_type": "is it", "answer_type": "yes/no", "answers": answers("no")}]});
    let name = |rest: &str| folder.join(format!("{prefix}{rest}"));
    write(
        &name("OpenEnded_mscoco_val2014_questions.json"),
        &questions.to_string(),
    );
    write(
        &name("mscoco_val2014_annotations.json"),
        &annotations.to_string(),
    );
}

fn vizwiz(folder: &Path) {
    picture(&folder.join("val/VizWiz_val_00000000.jpg"), 70);
    let answers: Vec<Value> = (0..10)
        .map(|_| json!({"answer": "basil", "answer_confidence": "yes"}))
        .collect();
    let list = json!([{"image": "VizWiz_val_00000000.jpg", "question": "What is this?", "answers": answers,
        "answer_type": "other", "answerable": 1}]);
    write(&folder.join("Annotations/val.json"), &list.to_string());
}

fn text_vqa(folder: &Path) {
    picture(&folder.join("train_images/0a1b.jpg"), 90);
    let file = json!({"data": [{"question_id": 1, "question": "what does it say?", "image_id": "0a1b",
        "answers": vec!["stop"; 10], "set_name": "val"}]});
    write(&folder.join("TextVQA_0.5.1_val.json"), &file.to_string());
}

fn gqa(folder: &Path) {
    picture(&folder.join("images/n1.jpg"), 20);
    let file = json!({
        "1": {"question": "Is it blue?", "answer": "no", "imageId": "n1", "isBalanced": true, "types": {"structural": "verify"}},
        "2": {"question": "What is it?", "answer": "dog", "imageId": "n1", "isBalanced": true, "types": {"structural": "query"}}});
    write(
        &folder.join("testdev_balanced_questions.json"),
        &file.to_string(),
    );
}

fn visdial(folder: &Path) {
    picture(
        &folder.join("VisualDialog_val2018/VisualDialog_val2018_000000000007.jpg"),
        120,
    );
    let file = json!({"version": "1.0", "split": "val2018", "data": {"questions": ["is it red", "how many"],
        "answers": ["yes", "no", "2", "3", "4", "five", "six"], "dialogs": [{"image_id": 7, "caption": "a red cat", "dialog": [
            {"question": 0, "answer": 0, "answer_options": [0, 1]}, {"question": 1, "answer": 2, "answer_options": [1, 2, 0, 3, 4, 5, 6]}]}]}});
    write(&folder.join("visdial_1.0_val.json"), &file.to_string());
    let dense = json!([{"image_id": 7, "round_id": 2, "gt_relevance": [0.2, 1.0, 0.0, 0.0, 0.0, 0.0, 0.4]}]);
    write(
        &folder.join("visdial_1.0_val_dense_annotations.json"),
        &dense.to_string(),
    );
}

fn captions(folder: &Path, file: &str) {
    picture(&folder.join("val2014").join(coco(1)), 30);
    picture(&folder.join("val2014").join(coco(2)), 200);
    let content = json!({
        "images": [{"id": 1, "file_name": coco(1), "domain": "in-domain"}, {"id": 2, "file_name": coco(2), "domain": "out-domain"}],
        "annotations": [{"id": 1, "image_id": 1, "caption": "A red cat on a mat."}, {"id": 2, "image_id": 2, "caption": "Two dogs run."},
            {"id": 3, "image_id": 2, "caption": "Dogs in a park."}]});
    write(&folder.join(file), &content.to_string());
}

fn flickr30k(folder: &Path) {
    picture(&folder.join("flickr30k-images/1.jpg"), 60);
    write(
        &folder.join("results_20130124.token"),
        "1.jpg#0\tTwo men .\n1.jpg#1\tTwo guys outside .\n",
    );
}

fn paragraphs(folder: &Path) {
    picture(&folder.join("VG_100K/5.jpg"), 10);
    write(
        &folder.join("paragraphs_v1.json"),
        r#"[{"image_id": 5, "paragraph": "A cat sits. It is red."}]"#,
    );
    write(&folder.join("test_split.json"), "[5]");
}

/// As Python's `pickle.dump(refs, file, protocol=0)` writes it.
fn refcoco(folder: &Path) {
    picture(&folder.join("train2014").join(coco(8)), 80);
    let instances = json!({"images": [{"id": 8, "file_name": coco(8), "width": 24, "height": 20}],
        "annotations": [{"id": 1, "image_id": 8, "segmentation": [[0, 0, 12, 0, 12, 10, 0, 10]]}]});
    write(&folder.join("instances.json"), &instances.to_string());
    let reference = |split: &str, id: u64| {
        format!(
            "(dp{id}\nVref_id\nI{id}\nsVann_id\nI1\nsVimage_id\nI8\nsVsplit\nV{split}\nsVsentences\n(lp9\n(dp8\nVsent\nVleft cat\nsasa"
        )
    };
    let pickle = format!("(lp0\n{}{}.", reference("testA", 1), reference("testB", 2));
    write(&folder.join("refs(unc).p"), &pickle);
}

fn mmbench(folder: &Path) {
    picture(&folder.join("own.png"), 150);
    let bytes = fs::read(folder.join("own.png")).unwrap();
    let columns = "index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\timage\n";
    let rows = format!(
        "1\tWhich color?\t\tred\tblue\t\t\tA\tcolour\t{}\n2\tWhich shape?\t\tround\tsquare\tflat\t\tC\tshape\t1\n",
        base64(&bytes)
    );
    write(
        &folder.join("MMBench_DEV_EN.tsv"),
        &(columns.to_owned() + &rows),
    );
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at > chunk.len() {
                '='
            } else {
                char::from(letter)
            });
        }
    }
    text
}

fn mmvp_vlm(folder: &Path) {
    let rows = "Question ID,Type,Statement\n1,Color and Appearance,red\n2,Color and Appearance,blue\n\
        3,Quantity and Count,one dog\n4,Quantity and Count,two dogs\n";
    write(&folder.join("Questions.csv"), rows);
    for (number, pattern) in [
        (1u8, "Color and Appearance"),
        (2, "Color and Appearance"),
        (3, "Quantity and Count"),
        (4, "Quantity and Count"),
    ] {
        let name = format!("MLLM_VLM Images/{pattern}/{number}.jpg");
        picture(&folder.join(name), 50 * number);
    }
}

#[test]
fn every_published_layout_is_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let all = folder.path().join("all");
    vqa(&all.join("VQAv2"), "v2_");
    vqa(&all.join("ok-vqa"), "");
    vizwiz(&all.join("VizWiz"));
    text_vqa(&all.join("TextVQA"));
    gqa(&all.join("GQA"));
    visdial(&all.join("visdial"));
    captions(&all.join("coco_captions"), "captions_val2014.json");
    captions(&all.join("nocaps"), "nocaps_val_4500_captions.json");
    flickr30k(&all.join("Flickr30k"));
    paragraphs(&all.join("image2paragraph"));
    for name in ["refcoco", "refcoco_plus", "refcocog"] {
        refcoco(&all.join(name));
    }
    mmbench(&all.join("MMBench"));
    let expected: [(&str, usize, &[&str]); 14] = [
        ("vqav2", 2, &["all", "other", "yes/no"]),
        ("okvqa", 2, &["all", "other", "yes/no"]),
        ("vizwiz", 1, &["all"]),
        ("textvqa", 1, &["all"]),
        ("gqa", 2, &["all", "binary", "open"]),
        ("visdial", 1, &["all"]),
        ("coco-captions", 2, &["all", "in-domain", "out-domain"]),
        ("nocaps", 2, &["all", "in-domain", "out-domain"]),
        ("flickr30k", 1, &["all"]),
        ("image2paragraph", 1, &["all"]),
        ("refcoco", 2, &["all", "testA", "testB"]),
        ("refcoco-plus", 2, &["all", "testA", "testB"]),
        ("refcocog", 2, &["all", "testA", "testB"]),
        ("mmbench", 5, &["all", "colour", "shape"]),
    ];
    let names = expected.map(|(name, ..)| name).join(",");
    let arguments = [
        "eval",
        "--benchmark",
        &names,
        "--data",
        "all",
        "--output",
        "out",
        "--json",
        "--report",
    ];
    let printed = succeeds(&arguments, folder.path());
    let results = json_of(&printed);
    for ((name, samples, parts), result) in expected.iter().zip(results.as_array().unwrap()) {
        assert_eq!(
            (&result["benchmark"], &result["samples"]),
            (&json!(name), &json!(samples))
        );
        assert_eq!(result["unreadable"], 0, "{name}");
        assert_eq!(&keys(&result["figures"])[..], *parts, "{name}");
        for figure in result["figures"]["all"].as_object().unwrap().values() {
            assert!(
                figure["mean"].as_f64().unwrap().is_finite(),
                "{name}: {result}"
            );
        }
    }
    let text = fs::read_to_string(folder.path().join("out/records.jsonl")).unwrap();
    let records: Vec<Value> = text.lines().map(json_of).collect();
    let of = |name: &'static str| records.iter().filter(move |r| r["benchmark"] == name);
    let graded = of("vqav2").next().unwrap();
    assert_eq!(
        (
            graded["form"].as_str(),
            graded["truth"].as_array().unwrap().len()
        ),
        (Some("annotators"), 10)
    );
    let ranked = of("visdial").next().unwrap();
    assert_eq!(
        ranked["likelihood"]["log_probabilities"]
            .as_array()
            .unwrap()
            .len(),
        7
    );
    assert_eq!(
        ranked["relevance"],
        json!([0.2, 1.0, 0.0, 0.0, 0.0, 0.0, 0.4])
    );
    assert!(
        ranked["prompt"]
            .as_str()
            .unwrap()
            .contains("a red cat. is it red? yes. how many?")
    );
    assert!(of("mmbench").all(|r| r["image_sha256"].is_string()));
    let page = fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(page.contains("Questions answered wrongly") && page.contains("MMBench"));
    // Nothing is asked again.
    assert_eq!(succeeds(&arguments, folder.path()), printed);
    assert_eq!(
        fs::read_to_string(folder.path().join("out/records.jsonl")).unwrap(),
        text
    );
    // Killed when every other question of each benchmark was answered, and while a line was written.
    let lines: Vec<&str> = text.lines().collect();
    let kept = lines.iter().step_by(2);
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    let cut = format!("{kept}{}", &lines[1][..lines[1].len() / 2]);
    fs::write(folder.path().join("out/records.jsonl"), cut).unwrap();
    assert_eq!(succeeds(&arguments, folder.path()), printed);
    let again = fs::read_to_string(folder.path().join("out/records.jsonl")).unwrap();
    assert!(again.starts_with(&kept) && again.lines().count() == lines.len());
}

#[test]
fn an_encoder_is_compared_with_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    for (class, shade) in [("cat", 40u8), ("dog", 90), ("bus", 200)] {
        for number in 0..2u8 {
            let name = format!("classes/{class}/{number}.png");
            picture(&folder.path().join(name), shade + 20 * number);
        }
    }
    let lines = "image,caption\ncat/0.png,a cat\ndog/0.png,a dog\nbus/1.png,a bus\n";
    write(&folder.path().join("classes/captions.csv"), lines);
    write(&folder.path().join("templates.txt"), "a photo of a {}\n");
    let arguments = [
        "eval",
        "--benchmark",
        "zero-shot,retrieval",
        "--data",
        "classes",
        "--data",
        "classes",
        "--templates",
        "templates.txt",
        "--encoder-before",
        "miner",
        "--output",
        "out",
        "--json",
    ];
    let result = json_of(&succeeds(&arguments, folder.path()));
    assert_eq!(
        (&result["run"], &result["control"]),
        (&json!("clip"), &json!("miner"))
    );
    let figures = |at: usize| &result["benchmarks"][at]["figures"];
    assert_eq!(result["benchmarks"][0]["samples"], json!(6));
    let difference = &figures(0)["all"]["accuracy"]["difference"];
    assert_eq!(difference["questions"], json!(6));
    assert_eq!(keys(figures(1)), ["mean", "text_to_image", "image_to_text"]);
    let saved = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap();
    assert_eq!(saved("out/records.jsonl").lines().count(), 12);
    assert_eq!(saved("out/before/records.jsonl").lines().count(), 12);
    // Nothing is asked again, and other labels are other questions.
    assert_eq!(json_of(&succeeds(&arguments, folder.path())), result);
    write(&folder.path().join("labels.txt"), "cat\ndog\nbus\ntrain\n");
    let (_, error) = fails(
        &[&arguments[..], &["--labels", "labels.txt"]].concat(),
        folder.path(),
    );
    assert!(error.contains("zero_shot: benchmark files"), "{error}");
    write(&folder.path().join("labels.txt"), "cat\ndog\n");
    let (_, error) = fails(
        &[&arguments[..], &["--labels", "labels.txt"]].concat(),
        folder.path(),
    );
    assert!(error.contains("a label for the folder bus"), "{error}");
    let model = [
        "eval",
        "--benchmark",
        "pope",
        "--data",
        "questions",
        "--encoder-before",
        "miner",
    ];
    pope(&folder.path().join("questions"));
    let (_, error) = fails(&model, folder.path());
    assert!(error.contains("an encoder alone"), "{error}");
}

#[test]
fn an_encoder_alone_is_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    mmvp_vlm(&folder.path().join("vlm"));
    let arguments = [
        "eval",
        "--benchmark",
        "mmvp-vlm",
        "--data",
        "vlm",
        "--output",
        "out",
        "--json",
    ];
    let result = json_of(&succeeds(&arguments, folder.path()));
    assert_eq!(
        (&result["model"], &result["samples"]),
        (&json!("clip"), &json!(4))
    );
    assert_eq!(
        keys(&result["figures"]),
        ["all", "Color and Appearance", "Quantity and Count"]
    );
    // Another encoder's answers do not mix with these.
    let (code, error) = fails(
        &[&arguments[..], &["--encoder", "miner"]].concat(),
        folder.path(),
    );
    assert!(
        code == Some(1) && error.contains("the model's weights"),
        "{error}"
    );
    let (_, error) = fails(
        &[&arguments[..], &["--encoder", "nothing"]].concat(),
        folder.path(),
    );
    assert!(
        error.contains("neither a folder nor one of clip, clip-attributes, miner"),
        "{error}"
    );
    pope(&folder.path().join("pope"));
    let both = [
        "eval",
        "--benchmark",
        "mmvp-vlm,pope",
        "--data",
        "vlm",
        "--data",
        "pope",
        "--output",
        "x",
    ];
    assert!(
        fails(&both, folder.path())
            .1
            .contains("evaluate them apart")
    );
}

#[test]
fn drawings_of_texts_are_made_once() {
    let folder = tempfile::tempdir().unwrap();
    captions(&folder.path().join("coco"), "captions_val2014.json");
    let arguments = [
        "eval",
        "--benchmark",
        "coco-generation",
        "--data",
        "coco",
        "--output",
        "out",
        "--steps",
        "1",
        "--tries",
        "2",
        "--json",
    ];
    let printed = succeeds(&arguments, folder.path());
    let result = json_of(&printed);
    assert_eq!(
        (&result["benchmark"], &result["samples"]),
        (&json!("coco-generation"), &json!(2))
    );
    assert_eq!(result["figures"]["all"]["pictures"]["mean"], 2.0);
    let drawn = folder.path().join("out/coco_generation/1.png");
    let made = fs::metadata(&drawn).unwrap().modified().unwrap();
    assert_eq!(image::open(&drawn).unwrap().width(), 48);
    assert_eq!(succeeds(&arguments, folder.path()), printed);
    assert_eq!(fs::metadata(&drawn).unwrap().modified().unwrap(), made);
    // Two shares draw the same pictures.
    let share = |share: &'static str| {
        let mut shared = arguments.to_vec();
        shared[6] = "shared";
        succeeds(&[&shared[..], &["--shard", share]].concat(), folder.path())
    };
    assert_eq!(share("1/2"), "");
    assert_eq!(share("2/2"), printed);
    let bytes = |file: &Path| fs::read(file).unwrap();
    let shared = folder.path().join("shared/coco_generation/1.png");
    assert!(bytes(&shared) == bytes(&drawn));
    let (_, error) = fails(
        &[&arguments[..], &["--guidance", "2"]].concat(),
        folder.path(),
    );
    assert!(error.contains("way of drawing"), "{error}");
}

#[test]
fn shares_give_the_figures_of_one_process() {
    let folder = tempfile::tempdir().unwrap();
    pope(&folder.path().join("pope"));
    robust_vqa(&folder.path().join("robust"));
    let run = |output: &str, more: &[&str]| {
        let arguments = [
            &[
                "eval",
                "--benchmark",
                "pope",
                "--benchmark",
                "robust-vqa",
                "--data",
                "pope",
                "--data",
                "robust",
            ][..],
            &["--batch", "2", "--json", "--output", output],
            more,
        ];
        succeeds(&arguments.concat(), folder.path())
    };
    let whole = run("whole", &[]);
    assert_eq!(run("shared", &["--shard", "1/3"]), "");
    assert_eq!(run("shared", &["--shard", "3/3"]), "");
    let last = run("shared", &["--shard", "2/3"]);
    assert_eq!(last, whole);
    assert_eq!(run("shared", &[]), whole);
    let shared = folder.path().join("shared");
    for name in [
        "records-1-of-3.jsonl",
        "records-2-of-3.jsonl",
        "records-3-of-3.jsonl",
    ] {
        assert!(
            fs::read_to_string(shared.join(name))
                .unwrap()
                .lines()
                .count()
                > 0,
            "{name}"
        );
    }
    let (code, error) = fails(
        &[
            "eval",
            "--benchmark",
            "pope",
            "--data",
            "pope",
            "--shard",
            "4/3",
        ],
        folder.path(),
    );
    assert!(code == Some(2) && error.contains("1 <= i <= n"), "{error}");
}

#[test]
fn two_runs_are_compared_on_the_same_questions() {
    let folder = tempfile::tempdir().unwrap();
    pope(&folder.path().join("pope"));
    for output in ["a", "b"] {
        succeeds(
            &[
                "eval",
                "--benchmark",
                "pope",
                "--data",
                "pope",
                "--output",
                output,
            ],
            folder.path(),
        );
    }
    // The other run answers everything with no.
    let file = folder.path().join("b/records.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let lines = text.lines().map(|line| {
        let mut record = json_of(line);
        record["answer"] = json!("no");
        record.to_string() + "\n"
    });
    let changed: String = lines.collect();
    fs::write(&file, &changed).unwrap();
    let compared = json_of(&succeeds(&["compare", "a", "b", "--json"], folder.path()));
    assert_eq!(
        keys(&compared),
        ["run", "control", "seeds", "benchmarks", "notes"]
    );
    let difference = &compared["benchmarks"][0]["figures"]["mean"]["accuracy"]["difference"];
    assert_eq!(
        keys(difference),
        [
            "mean",
            "low",
            "high",
            "p_value",
            "mcnemar",
            "detectable",
            "questions",
            "clusters",
            "seeds",
            "wins",
            "losses"
        ]
    );
    assert_eq!(difference["questions"], 10);
    let table = succeeds(&["compare", "a", "b", "--vs-baseline"], folder.path());
    assert!(
        table.contains("baseline b") && table.contains("POPE, 10 answers each"),
        "{table}"
    );
    let seeds = json_of(&succeeds(
        &["compare", "a,b", "b,b", "--json"],
        folder.path(),
    ));
    assert_eq!(seeds["seeds"], 2);

    fs::write(
        &file,
        changed.replacen("\"truth\":[\"yes\"]", "\"truth\":[\"no\"]", 1),
    )
    .unwrap();
    let (code, error) = fails(&["compare", "a", "b"], folder.path());
    assert!(
        code == Some(1) && error.contains("pope: 1 other right answers"),
        "{error}"
    );
    let fewer: Vec<&str> = changed.lines().skip(1).collect();
    fs::write(&file, fewer.join("\n") + "\n").unwrap();
    let (_, error) = fails(&["compare", "a", "b"], folder.path());
    assert!(error.contains("1 questions of a only"), "{error}");
    let (_, error) = fails(&["compare", "a", "pope"], folder.path());
    assert!(error.contains("pope: holds no answers"), "{error}");
}

#[test]
fn a_robust_vqa_of_ones_own_pictures_is_built_and_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    for (class, start) in [("cat", 0u8), ("dog", 1), ("bus", 2)] {
        for number in 0..4u8 {
            picture(
                &folder.path().join(format!("sketches/{class}/{number}.png")),
                20 * number + 60 * start,
            );
        }
    }
    write(&folder.path().join("sketches/cat/broken.png"), "no picture");
    write(
        &folder.path().join("labels.txt"),
        "cat cat\ndog dog\nbus bus\n",
    );
    let build = |more: &[&str]| {
        let arguments = [
            &[
                "data",
                "build-robustvqa",
                "--images",
                "sketches",
                "--labels",
                "labels.txt",
                "--json",
            ][..],
            more,
        ];
        succeeds(&arguments.concat(), folder.path())
    };
    let printed = build(&[]);
    let summary = json_of(&printed);
    assert_eq!(
        (&summary["pictures"], &summary["unreadable"]),
        (&json!(13), &json!(1))
    );
    assert_eq!(
        (&summary["list"], &summary["encoder"]),
        (&json!("sketches"), &json!("miner"))
    );
    let kept = summary["kept"].as_u64().unwrap();
    // Of flat colours no encoder can tell all three.
    assert!(kept > 0 && kept <= 12, "{kept}");
    let file = folder.path().join("sketches/robustvqa.json");
    let lists = json_of(&fs::read_to_string(&file).unwrap());
    let entry = &lists["sketches"][0];
    assert_eq!(keys(entry), ["file_name", "gt_caption", "error_caption"]);
    assert_ne!(entry["gt_caption"], entry["error_caption"]);

    // What was looked at is not looked at again, even if the file was cut.
    let progress = folder.path().join("sketches/robustvqa.progress.jsonl");
    let text = fs::read_to_string(&progress).unwrap();
    fs::write(&progress, &text[..text.len() - 9]).unwrap();
    assert_eq!(build(&[]), printed);
    assert_eq!(fs::read_to_string(&progress).unwrap().lines().count(), 14);
    let arguments = [
        "data",
        "build-robustvqa",
        "--images",
        "sketches",
        "--mode",
        "paper",
    ];
    let (code, error) = fails(&arguments, folder.path());
    assert!(
        code == Some(1) && error.contains("mode Strict there, Paper now"),
        "{error}"
    );

    let result = json_of(&succeeds(
        &[
            "eval",
            "--benchmark",
            "robust-vqa",
            "--data",
            "sketches",
            "--output",
            "out",
            "--json",
        ],
        folder.path(),
    ));
    assert_eq!(result["samples"], 2 * kept);
    assert_eq!(keys(&result["figures"]), ["mean", "sketches"]);
    assert!(result["figures"]["mean"]["accuracy"]["low"].is_number());
    // Two shares give the same file.
    let shared = |share: &str| {
        build(&["--output", "shared", "--shard", share]);
        fs::read(folder.path().join("shared/robustvqa.json")).ok()
    };
    assert_eq!(shared("2/2"), None);
    assert_eq!(shared("1/2"), fs::read(&file).ok());
    let published = build(&["--output", "other", "--list", "imagenet_r"]);
    assert_eq!(json_of(&published)["list"], "imagenet_r");
    let lists = json_of(&fs::read_to_string(folder.path().join("other/robustvqa.json")).unwrap());
    assert_eq!(keys(&lists), ["imagenet_a", "imagenet_r", "imagenet_v2"]);
}
