//! Public sets, fetched from a web server.

use std::fs;

use super::server::Server;
use super::{deem, succeeds};

#[test]
fn public_sets_are_shown_fetched_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    fs::create_dir_all(folder.join("www/zips")).unwrap();
    fs::write(folder.join("www/zips/a.zip"), &content).unwrap();
    let server = Server::of(&folder.join("www"));
    let sets = |sum: &str| {
        let text = format!(
            "[[sets]]\nname = \"made\"\nabout = \"made up\"\nlicence = \"CC0\"\n\
             files = [{{ url = \"http://nowhere.invalid/zips/a.zip\", sha256 = \"{sum}\" }}]\n"
        );
        fs::write(folder.join("sets.toml"), text).unwrap();
    };
    sets("00");
    let fetch = |more: &[&str]| {
        let all = [
            "data",
            "fetch",
            "made",
            "--sets",
            "sets.toml",
            "--mirror",
            &server.address,
        ];
        let output = deem(&[&all[..], more].concat(), folder);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.success(),
            told,
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (fine, told, _) = fetch(&["--dry-run"]);
    assert!(fine, "{told}");
    for shown in ["CC0", "/zips/a.zip", "1.2 MB", "SHA-256 00"] {
        assert!(told.contains(shown), "{told}");
    }
    assert!(!folder.join("made").exists());
    let (fine, told, _) = fetch(&[]);
    assert!(!fine && told.contains("announced SHA-256 00"), "{told}");
    assert!(!folder.join("made/a.zip").exists());
    let sum = told
        .rsplit("received ")
        .next()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    sets(&sum);
    // Half of it is there from an earlier try.
    fs::write(folder.join("made/a.zip.incomplete"), &content[..500_000]).unwrap();
    server.asked("");
    let (fine, told, out) = fetch(&[]);
    assert!(fine, "{told}");
    assert!(out.starts_with(&sum) && out.contains("a.zip"), "{out}");
    assert!(fs::read(folder.join("made/a.zip")).unwrap() == content);
    assert!(server.asked("GET")[0].contains("bytes=500000-"));
    let listed = succeeds(&["data", "fetch"], folder);
    assert!(
        listed.contains("coco-annotations") && listed.contains("emoji"),
        "{listed}"
    );
}
