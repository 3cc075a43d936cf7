//! Results of every kind against every use, on the shipped stand-ins.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use deem::{
    AdaptOptions, Connection, Description, Error, ImageOptions, Model, Open, Parts, Picture,
    Precision, Purpose, TextOptions, export, preset_folder,
};
use deem_engine::train::ParameterGroup;
use deem_model::weights::{Dtype, StateTensor, WeightsFile, state, write};
use image::{Rgb, RgbImage};

/// Globs of what two stages train, as of a run: the first the ways into pictures, the second the language.
const STAGES: [(&str, &[&str]); 2] = [
    (
        "one",
        &["image_encoder.proj_t.*", "image_encoder.query_tokens"],
    ),
    ("two", &["llama.model.norm.weight", "soi_token"]),
];

fn groups(patterns: &[&str]) -> Vec<ParameterGroup> {
    vec![ParameterGroup {
        patterns: patterns.iter().map(|p| (*p).to_owned()).collect(),
        learning_rate: 1e-3,
        weight_decay: 0.0,
    }]
}

fn picture() -> Picture {
    let shade = |x: u32, y: u32| Rgb([(2 * x) as u8, (2 * y) as u8, 90]);
    Picture::new("gradient", RgbImage::from_fn(96, 96, shade))
}

/// Runs of two stages upon the tiny preset, with values that a stage might have found.
struct Runs {
    folder: tempfile::TempDir,
}

impl Runs {
    fn new() -> Self {
        let runs = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let mut parts = Open::preset("tiny").find().unwrap();
        for (stage, patterns) in STAGES {
            parts = parts.after(stage, &groups(patterns), &[]).unwrap();
            runs.write(&runs.at(stage), &parts, |_| true);
        }
        runs
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a run's directory: everything trained so far that `keep` keeps.
    fn write(&self, run: &Path, parts: &Parts, keep: impl Fn(&str) -> bool) {
        fs::create_dir_all(run.join("checkpoint")).unwrap();
        let tensors = self.trained(parts, keep);
        let path = run.join("checkpoint/model.safetensors");
        write(&tensors, &path, Dtype::F32, HashMap::new()).unwrap();
        parts.describe(Precision::F32).unwrap().write(run).unwrap();
    }

    /// The trained parameters, moved a little.
    fn trained(&self, parts: &Parts, keep: impl Fn(&str) -> bool) -> Vec<StateTensor> {
        let model = Open::preset("tiny").find().unwrap();
        let model = model.assemble(0, &Device::flex()).unwrap().no_grad();
        let names = &parts.trained().parameters;
        let chosen = state(&model)
            .into_iter()
            .filter(|tensor| names.contains(&tensor.name) && keep(&tensor.name));
        chosen
            .map(|tensor| StateTensor {
                values: tensor.values.iter().map(|v| 1.5 * v + 0.01).collect(),
                ..tensor
            })
            .collect()
    }
}

/// What every use of a model gives.
#[derive(Debug, PartialEq)]
struct Uses {
    answer: String,
    said: String,
    scores: Vec<f64>,
    drawn: RgbImage,
    restored: RgbImage,
    adapted: String,
}

fn uses(model: &Model) -> Uses {
    let (text, image) = (
        TextOptions::longest(4),
        ImageOptions {
            steps: 2,
            ..ImageOptions::default()
        },
    );
    let one = AdaptOptions {
        steps: 1,
        timesteps: 1,
        ..AdaptOptions::default()
    };
    let pictures = [picture()];
    let question = "What color is the background?";
    let mut conversation = model.converse();
    conversation.show(&pictures[0]).unwrap();
    Uses {
        answer: model.ask(question, &pictures, &text).unwrap(),
        said: conversation.say(question, &text, &mut |_| {}).unwrap(),
        scores: model.score(question, &pictures, &["red", "blue"]).unwrap(),
        drawn: model.draw("a red fox", &image).unwrap(),
        restored: model.restore(&pictures[0], 0.65, &image).unwrap(),
        adapted: model
            .adapted(&pictures[0], &one)
            .unwrap()
            .ask(question, &pictures, &text)
            .unwrap(),
    }
}

fn values(parts: &Parts) -> HashMap<String, Vec<f32>> {
    let model = parts.assemble(0, &Device::flex()).unwrap().no_grad();
    let tensors = state(&model).into_iter();
    tensors.map(|tensor| (tensor.name, tensor.values)).collect()
}

fn named(path: &Path) -> Open<'static> {
    Open::named(path.to_str().unwrap())
}

#[test]
fn every_name_of_a_result_is_the_same_model() {
    let runs = Runs::new();
    let two = runs.at("two");
    let expected = named(&two).load().unwrap();
    assert_eq!(expected.connection(), Connection::Trained);
    let expected = uses(&expected);
    let warm = uses(&Open::preset("tiny").load().unwrap());
    assert_ne!(expected.scores, warm.scores, "stages changed something");
    for path in [
        two.join("checkpoint"),
        two.join("checkpoint/model.safetensors"),
        // The folder of both stages means the last one.
        runs.folder.path().to_owned(),
    ] {
        let model = named(&path).load().unwrap();
        assert_eq!(uses(&model), expected, "{}", path.display());
    }
    // What a crash between two renames leaves.
    fs::rename(two.join("checkpoint"), two.join("checkpoint.previous")).unwrap();
    assert_eq!(uses(&named(&two).load().unwrap()), expected);
    let one = uses(&named(&runs.at("one")).load().unwrap());
    assert_ne!(one.scores, expected.scores);
}

#[test]
fn values_of_all_stages_are_there_and_nothing_else_has_changed() {
    let runs = Runs::new();
    let before = values(&Open::preset("tiny").find().unwrap());
    let parts = named(&runs.at("two")).find().unwrap();
    assert_eq!(parts.trained().stages, ["one", "two"]);
    let trained = &parts.trained().parameters;
    for (name, now) in values(&parts) {
        let changed = now != before[&name];
        assert_eq!(changed, trained.contains(&name), "{name}");
    }
}

#[test]
fn a_result_that_lacks_what_was_trained_is_refused() {
    let runs = Runs::new();
    let parts = named(&runs.at("two")).find().unwrap();
    // What a checkpoint of stage two alone would hold.
    let lacking = runs.at("lacking");
    runs.write(&lacking, &parts, |name| !name.starts_with("image_encoder"));
    for purpose in [Purpose::Text, Purpose::Answers, Purpose::Everything] {
        let error = named(&lacking).purpose(purpose).load().unwrap_err();
        let Error::Incomplete { missing, of, .. } = &error else {
            panic!("{error}");
        };
        assert!(
            missing
                .iter()
                .all(|name| name.starts_with("image_encoder."))
        );
        assert!(missing.len() < *of);
        let said = error.to_string();
        for word in ["lacking", "image_encoder.", "one, two"] {
            assert!(said.contains(word), "no {word} in {said}");
        }
    }
}

#[test]
fn weights_that_say_nothing_must_be_complete() {
    let runs = Runs::new();
    let bare = runs.at("bare.safetensors");
    fs::copy(runs.at("two/checkpoint/model.safetensors"), &bare).unwrap();
    let name = bare.to_str().unwrap();
    let error = Open::named(name).load().unwrap_err().to_string();
    assert!(error.contains("model.json"), "{error}");
    let error = Open::preset("tiny").trained(name).load().unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, Error::Incomplete { .. }), "{said}");
    assert!(
        said.contains("bare.safetensors") && said.contains("missing"),
        "{said}"
    );

    let model = named(&runs.at("two")).find().unwrap();
    let model = model.assemble(0, &Device::flex()).unwrap().no_grad();
    write(&state(&model), &bare, Dtype::F32, HashMap::new()).unwrap();
    let complete = Open::preset("tiny").trained(name).load().unwrap();
    let expected = named(&runs.at("two")).load().unwrap();
    assert_eq!(uses(&complete).drawn, uses(&expected).drawn);
}

#[test]
fn another_base_is_noticed() {
    let runs = Runs::new();
    let copy = runs.at("standins");
    copy_tree(&preset_folder("tiny").unwrap(), &copy);
    let parts = Open::folder(&copy).find().unwrap();
    let parts = parts.after("one", &groups(STAGES[0].1), &[]).unwrap();
    let run = runs.at("moved");
    runs.write(&run, &parts, |_| true);
    named(&run).load().unwrap();
    // Another language model of the same shapes, with a list of checksums that knows it.
    let path = copy.join("llm/model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    fs::remove_file(copy.join("SHA256SUMS")).unwrap();
    let error = named(&run).load().unwrap_err();
    assert!(matches!(error, Error::OtherBase { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("llama") && said.contains("SHA-256"), "{said}");
    fs::remove_dir_all(copy.join("llm")).unwrap();
    let said = named(&run).load().unwrap_err().to_string();
    assert!(
        said.contains("weights.llama") && said.contains("not there"),
        "{said}"
    );
}

#[test]
fn an_exported_folder_opens_anywhere_and_is_the_same() {
    let runs = Runs::new();
    let parts = named(&runs.at("two")).find().unwrap();
    let out = runs.at("exported");
    export(&parts, &out).unwrap();
    for name in [
        "model.json",
        "model.safetensors",
        "tokenizer.json",
        "README.md",
        "SHA256SUMS",
    ] {
        assert!(out.join(name).is_file(), "{name}");
    }
    let moved = tempfile::tempdir().unwrap();
    let moved = moved.path().join("elsewhere");
    fs::rename(&out, &moved).unwrap();
    let again = named(&moved).offline(true).find().unwrap();
    assert_eq!(again.spec(), parts.spec());
    assert_eq!(values(&again), values(&parts));
    let (copy, original) = (
        named(&moved).load().unwrap(),
        named(&runs.at("two")).load().unwrap(),
    );
    assert_eq!(uses(&copy), uses(&original));
    let answers = named(&moved).purpose(Purpose::Answers).load().unwrap();
    let question = ("Is there a dog?", [picture()]);
    assert_eq!(
        answers
            .score(question.0, &question.1, &["yes", "no"])
            .unwrap(),
        original
            .score(question.0, &question.1, &["yes", "no"])
            .unwrap(),
    );

    // A stage trained upon it needs the folder, and says so.
    let further = again.after("three", &groups(&["soi_token"]), &[]).unwrap();
    let run = runs.at("further");
    runs.write(&run, &further, |_| true);
    let model = named(&run).load().unwrap();
    assert_eq!(model.spec(), parts.spec());

    let error = export(&parts, &moved).unwrap_err().to_string();
    assert!(error.contains("already there"), "{error}");
    let weights = moved.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).unwrap();
    let error = named(&moved).load().unwrap_err().to_string();
    assert!(error.contains("checksum"), "{error}");
}

#[test]
fn a_run_file_opens_its_model_upon_other_weights() {
    let runs = Runs::new();
    let file = runs.at("run.toml");
    fs::write(&file, run_toml("")).unwrap();
    let parts = Open::run_file(&file, None).find().unwrap();
    assert_eq!(parts.name(), "run");
    assert_eq!(parts.connection(), Connection::Untrained);
    // Upon it, a result of the preset: the same networks and the same parts.
    let two = runs.at("two");
    let trained = Open::run_file(&file, None).trained(two.to_str().unwrap());
    let parts = trained.find().unwrap();
    assert_eq!(values(&parts), values(&named(&two).find().unwrap()));
    // The same, stated in the file.
    let stated = format!("trained = {:?}", two.display().to_string());
    fs::write(&file, run_toml(&stated)).unwrap();
    let parts = Open::run_file(&file, None).find().unwrap();
    assert_eq!(parts.trained().stages, ["one", "two"]);
    let other = ["model.llama.rms_norm_eps=1e-3".to_owned()];
    let error = Open::run_file(&file, None).set(&other).find().unwrap_err();
    assert!(matches!(error, Error::OtherModel { .. }), "{error}");
    assert!(error.to_string().contains("model.llama"), "{error}");
}

/// The tiny preset's model as a run's file.
fn run_toml(trained: &str) -> String {
    let folder = preset_folder("tiny").unwrap().canonicalize().unwrap();
    let folder = folder.display();
    let text = fs::read_to_string(format!("{folder}/model.toml")).unwrap();
    let model = text.split_once("\n[model]\n").unwrap().1;
    format!(
        "name = \"stage\"\nmax_tokens = 160\nbatch = 2\ndata = [{{ kind = \"world\", task = \"alignment\" }}]\n\
         loss = {{ text = 1.0, image = 0.0, feedback = 0.0 }}\n\
         train = {{ save_every = 1, schedule = {{ steps = 2, warmup = 1 }}, groups = [] }}\n\
         [weights]\nvision = \"{folder}/clip\"\nllama = \"{folder}/llm\"\ntokenizer = \"built-in\"\n\
         diffusion = \"{folder}\"\n{trained}\n[model]\n{model}"
    )
}

#[test]
fn names_without_a_model_list_what_was_tried() {
    let empty = tempfile::tempdir().unwrap();
    let said = named(empty.path()).load().unwrap_err().to_string();
    for word in ["checkpoint/model.safetensors", "stage", "tiny"] {
        assert!(said.contains(word), "no {word} in {said}");
    }
    let error = Open::preset("tinny").load().unwrap_err();
    assert!(matches!(error, Error::NoPreset { .. }), "{error}");
    assert!(error.to_string().contains("smol"), "{error}");
    let error = Open::preset("smol")
        .purpose(Purpose::Text)
        .load()
        .unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("weights.llama") && said.contains("deem data fetch smollm2"),
        "{said}"
    );
    let error = Open::named("hf://a/b").offline(true).load().unwrap_err();
    assert!(matches!(error, Error::Hub(_)), "{error}");
}

#[test]
fn descriptions_are_read_as_they_were_written() {
    let runs = Runs::new();
    let path = runs.at("two/model.json");
    let description = Description::read(&path).unwrap();
    assert_eq!(description.name, "tiny");
    let again = runs.at("again");
    description.write(&again).unwrap();
    assert_eq!(
        Description::read(&again.join("model.json")).unwrap(),
        description
    );
    let text = fs::read_to_string(&path).unwrap();
    for (from, to, said) in [
        ("\"format\": 1", "\"format\": 9", "format 9"),
        ("\"whole\"", "\"hole\"", "hole"),
    ] {
        fs::write(&path, text.replace(from, to)).unwrap();
        let error = named(&runs.at("two")).find().unwrap_err().to_string();
        assert!(
            error.contains(said) && error.contains("model.json"),
            "{error}"
        );
    }
}

#[test]
fn who_watches_a_drawing_may_stop_it() {
    let model = Open::preset("tiny").load().unwrap();
    let options = ImageOptions {
        steps: 5,
        ..ImageOptions::default()
    };
    let mut seen = Vec::new();
    let mut watch = |done, steps| {
        seen.push((done, steps));
        done < 3
    };
    let error = model
        .draw_watched("a dog", &options, &mut watch)
        .unwrap_err();
    assert_eq!(error.to_string(), "interrupted; nothing was drawn");
    assert_eq!(seen, [(1, 5), (2, 5), (3, 5)]);
    let mut steps = 0;
    let mut count = |_, _| {
        steps += 1;
        true
    };
    let restored = model
        .restore_watched(&picture(), 0.5, &options, &mut count)
        .unwrap();
    assert_eq!(restored, model.restore(&picture(), 0.5, &options).unwrap());
    assert!((2..4).contains(&steps), "{steps}");
}

#[test]
fn a_model_refuses_what_it_was_not_opened_for() {
    let text = Open::preset("tiny").purpose(Purpose::Text).load().unwrap();
    let few = TextOptions::longest(2);
    assert!(text.ask("Is a cat an animal?", &[], &few).is_ok());
    let error = text.ask("What?", &[picture()], &few).unwrap_err();
    assert!(matches!(error, Error::NotLoaded { .. }), "{error}");
    let answers = Open::preset("tiny")
        .purpose(Purpose::Answers)
        .load()
        .unwrap();
    let error = answers.draw("a dog", &ImageOptions::default()).unwrap_err();
    assert!(error.to_string().contains("everything"), "{error}");
    assert!(
        answers
            .restore(&picture(), 0.5, &ImageOptions::default())
            .is_err()
    );
    let model = Open::preset("tiny").load().unwrap();
    for strength in [f64::NAN, -0.1, 1.1] {
        let error = model.restore(&picture(), strength, &ImageOptions::default());
        assert!(matches!(error, Err(Error::Option { .. })), "{strength}");
    }
    let none = TextOptions::longest(0);
    assert!(matches!(
        model.ask("What?", &[], &none),
        Err(Error::Option { .. })
    ));
}

#[test]
fn conversations_end_before_the_model_does() {
    let model = Open::preset("tiny").purpose(Purpose::Text).load().unwrap();
    let mut conversation = model.converse();
    let limit = model.spec().model.llama.max_position_embeddings;
    let error = conversation.say("Hi", &TextOptions::longest(limit), &mut |_| {});
    assert!(matches!(error, Err(Error::TooLong { .. })));
    assert_eq!(conversation.turns(), 0, "the turn is forgotten");
    conversation
        .say("Hi", &TextOptions::longest(2), &mut |_| {})
        .unwrap();
    assert_eq!(conversation.turns(), 1);
}

#[test]
fn several_pictures_and_regions_are_seen() {
    let model = Open::preset("tiny")
        .purpose(Purpose::Answers)
        .load()
        .unwrap();
    let black = || Picture::new("black", RgbImage::new(96, 96));
    let score = |pictures: &[Picture]| model.score("Which?", pictures, &["dog"]).unwrap()[0];
    let (one, both) = (score(&[picture()]), score(&[picture(), black()]));
    assert_ne!(one, both);
    assert_ne!(both, score(&[black(), picture()]), "their order matters");
    let mut mask = image::GrayImage::new(96, 96);
    for x in 0..30 {
        mask.put_pixel(x, 5, image::Luma([255]));
    }
    let region = picture().with_region(mask).unwrap();
    assert_ne!(one, score(&[region]));
    let small = image::GrayImage::new(3, 3);
    assert!(picture().with_region(small).is_err());
}

#[test]
fn models_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Model>();
    shared::<Parts>();
    shared::<Error>();
    let model = Open::preset("tiny")
        .purpose(Purpose::Answers)
        .load()
        .unwrap();
    let ask = || {
        model
            .ask("Is there a dog?", &[picture()], &TextOptions::longest(3))
            .unwrap()
    };
    let alone = ask();
    let together: Vec<String> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..3).map(|_| scope.spawn(ask)).collect();
        asked
            .into_iter()
            .map(|asked| asked.join().unwrap())
            .collect()
    });
    assert!(together.iter().all(|answer| *answer == alone));
}

#[test]
fn overrides_reach_presets_and_results() {
    let runs = Runs::new();
    let shorter = ["max_tokens=99".to_owned()];
    for open in [Open::preset("tiny"), named(&runs.at("two"))] {
        assert_eq!(open.set(&shorter).find().unwrap().spec().max_tokens, 99);
    }
    let wrong = ["max_tokes=99".to_owned()];
    for open in [Open::preset("tiny"), named(&runs.at("two"))] {
        let error = open.set(&wrong).find().unwrap_err().to_string();
        assert!(error.contains("max_tokes"), "{error}");
    }
}

#[test]
fn stand_ins_hold_what_their_lists_say() {
    let copy = tempfile::tempdir().unwrap();
    copy_tree(&preset_folder("tiny").unwrap(), copy.path());
    let path = copy.path().join("clip/model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = Open::folder(copy.path()).load().unwrap_err().to_string();
    assert!(
        error.contains("checksum") && error.contains("clip"),
        "{error}"
    );
    assert!(WeightsFile::open(&path).is_ok(), "only the list knows");
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
