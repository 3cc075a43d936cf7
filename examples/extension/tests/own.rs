//! The source trains the shipped model, the benchmark evaluates it, through public interfaces alone.

use deem::{Compute, Open};
use deem_data::image::ImageLimits;
use deem_data::source::{SourceContext, SourceRegistry};
use deem_engine::RunLock;
use deem_engine::batches::stage_batches;
use deem_engine::config::{self, StageConfig};
use deem_engine::evaluate::{
    BenchmarkRegistry, Evaluation, Exam, ModelIdentity, Shard, summary, weights_digest,
};
use deem_engine::task::DeemTask;
use deem_engine::train::{Run, RunIdentity, Silent, train};
use deem_extension::{CLASS_FOLDERS, Shades};
use image::{Rgb, RgbImage};

const STAGE: &str = r#"
name = "own"
data = [{ kind = "class-folders", images = "pictures" }]
batch = 2
loss = { text = 1.0, image = 0.0, feedback = 5.0 }
train.save_every = 2
train.schedule = { steps = 2, warmup = 1 }
train.groups = [{ patterns = ["image_encoder.proj_*"], learning_rate = 1e-4 }]
"#;

#[test]
fn a_source_of_ones_own_trains_the_shipped_model() {
    let folder = tempfile::tempdir().unwrap();
    for (class, shade) in [("black_cat", 0), ("white_cat", 255), ("grey_cat", 128)] {
        let class = folder.path().join("pictures").join(class);
        std::fs::create_dir_all(&class).unwrap();
        let picture = RgbImage::from_pixel(32, 24, Rgb([shade; 3]));
        picture.save(class.join("0.png")).unwrap();
    }
    let stage: StageConfig = config::parse(STAGE, &[]).unwrap();
    let compute = Compute::named("cpu", None).unwrap();
    let parts = Open::preset("tiny").find().unwrap();
    let spec = parts.spec();
    let context = SourceContext {
        seed: 1,
        image_size: spec.model.image_size as u32,
        root: folder.path().into(),
        limits: ImageLimits::default(),
    };
    let sources = SourceRegistry::standard().with(CLASS_FOLDERS);
    let tokenizer = parts.tokenizer().unwrap();
    let batches = stage_batches(&stage, spec, &tokenizer, &sources, &context).unwrap();
    let text = tokenizer
        .decode(
            &batches
                .get(0)
                .unwrap()
                .tokens
                .iter()
                .map(|t| *t as u32)
                .collect::<Vec<_>>(),
        )
        .unwrap();
    assert!(text.contains("cat"), "{text}");

    let task = DeemTask::new(&stage, batches, 1, &compute);
    let model = parts
        .assemble(1, &compute.device.clone().autodiff())
        .unwrap();
    let identity = RunIdentity::of_stage(&stage, spec);
    let run = Run::new(identity, &folder.path().join("run"));
    let trained = train(&task, model, &run, &mut Silent).unwrap();
    assert!(trained.weights.is_file());
}

#[test]
fn a_benchmark_of_ones_own_is_asked_and_scored() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("shades");
    std::fs::create_dir_all(&pictures).unwrap();
    for (name, shade) in [("black", 0), ("white", 255)] {
        let picture = RgbImage::from_pixel(32, 32, Rgb([shade; 3]));
        picture.save(pictures.join(format!("{name}.png"))).unwrap();
    }
    let registry = BenchmarkRegistry::standard().with(Shades);
    let benchmark = registry.get("shades").unwrap();
    let exam = Exam::read(benchmark, &pictures, ImageLimits::default()).unwrap();
    let model = Open::preset("tiny").load().unwrap();
    let identity = ModelIdentity {
        weights: weights_digest(model.network()),
        precision: "f32".into(),
        max_tokens: model.spec().max_tokens,
        drawing: None,
    };
    let output = folder.path().join("eval");
    let lock = RunLock::acquire(&output).unwrap();
    let exams = std::slice::from_ref(&exam);
    let mut evaluation = Evaluation::open(&output, lock, &identity, exams, Shard::WHOLE).unwrap();
    let family = evaluation
        .run(&model.runner(2), &exam, &mut |_| true)
        .unwrap()
        .expect("every question was asked");
    let summary = summary(&family, "tiny");
    assert_eq!(summary["benchmark"], "shades");
    assert_eq!(summary["samples"], 2);
    let accuracy = summary["figures"]["all"]["accuracy"]["mean"]
        .as_f64()
        .unwrap();
    assert!([0.0, 50.0, 100.0].contains(&accuracy));
}
