//! Samples written in each layout and read back, and the page of samples.

use std::fs;

use super::{fails, succeeds};

#[test]
fn what_is_exported_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (format, source, told) in [
        ("captions", "diffusion", ""),
        ("webdataset", "diffusion", ""),
        ("llava", "instruction", "## ASSISTANT:[ "),
        ("parquet", "instruction", "## ASSISTANT:[ "),
        ("coco", "region", "<ref>region1</ref>"),
    ] {
        let export = [
            "data", "export", "--format", format, "-o", format, "--count", "9", "--source", source,
        ];
        let entry = succeeds(&export, folder);
        let (_, error) = fails(&export, folder);
        assert!(error.contains("exists"), "{error}");
        assert!(!folder.join(format!("{format}.partial")).exists());
        let run = format!("data = [{}]\n", entry.trim());
        fs::write(folder.join(format).join("run.toml"), run).unwrap();
        let config = format!("{format}/run.toml");
        let stats = succeeds(&["data", "stats", "--json", "--config", &config], folder);
        let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
        assert_eq!(stats["length"], 9, "{stats}");
        assert_eq!(stats["failed"], serde_json::json!({}), "{stats}");
        let inspect = [
            "data", "inspect", "--config", &config, "-o", "seen", "--count", "9",
        ];
        let shown = succeeds(&inspect, folder);
        assert!(shown.contains(told), "{shown}");
    }
    // The world's conversations have no layout of captions.
    let export = [
        "data",
        "export",
        "--format",
        "coco",
        "-o",
        "x",
        "--source",
        "diffusion",
    ];
    let (_, error) = fails(&export, folder);
    assert!(error.contains("--source region"), "{error}");
    assert!(!folder.join("x").exists() && !folder.join("x.partial").exists());

    // A mixture's shares.
    let both = r#"[{ kind = "captions", file = "captions/captions.jsonl", images = "captions/images", weight = 3.0 },
        { kind = "llava", file = "llava/conversations.json", images = "llava/images" }]"#;
    let stats = succeeds(
        &["data", "stats", "--json", "--source", both, "--count", "40"],
        folder,
    );
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["sources"][0]["share_of_samples"], 0.75);
    let tokens = |n: usize| stats["sources"][n]["share_of_tokens"].as_f64().unwrap();
    assert!(
        (tokens(0) + tokens(1) - 1.0).abs() < 1e-9 && tokens(1) > 0.25,
        "{stats}"
    );
}

#[test]
fn a_page_shows_texts_pictures_views_and_regions() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let arguments = [
        "data",
        "inspect",
        "--source",
        "region",
        "--count",
        "2",
        "--html",
        "seen.html",
    ];
    succeeds(&arguments, folder);
    let page = fs::read_to_string(folder.join("seen.html")).unwrap();
    for part in [
        "<span class=\"s\">&lt;s&gt;</span>",
        "<span class=\"s c\">&lt;/s&gt;</span>",
        "<span class=\"c\"> ",
        "encoder view, region",
        "diffusion view",
        "data:image/png;base64,",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(page.matches("<section>").count(), 2);
    assert!(!page.contains("http://") && !page.contains("https://"));
}
