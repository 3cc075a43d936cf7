//! A very small CLIP as transformers publishes it is corrected on eight pictures, with a very small diffusion model.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use deem_collective::{Alone, Collective, Threads};
use deem_data::image::ImageLimits;
use deem_data::source::SourceContext;
use deem_engine::encoder_feedback::{
    EncoderFoundation, FeedbackRun, FeedbackTask, Reference, picture_batches, pictures_at,
    save_encoder,
};
use deem_engine::train::{
    Observer, Piece, Run, RunIdentity, Shares, Silent, Task, Trained, read_metrics, train,
};
use deem_engine::{Compute, DualEncoder, EncoderFolder, EngineError};
use deem_model::clip::dual::ImageConfig;
use deem_model::encoder_feedback::FeedbackModel;
use deem_model::weights::init::initialize;
use deem_model::weights::{Dtype, WeightsFile, save, state};
use image::{Rgb, RgbImage};

use crate::common;

const CONFIG: &str = r#"
[weights]
encoder = "unused"
diffusion = "unused"

[model]
diffusion_size = 16
condition = "both"

[model.encoder]
hidden_size = 24
intermediate_size = 48
num_hidden_layers = 2
num_attention_heads = 2
image_size = 32
patch_size = 8
projection_dim = 12

[model.unet]
down_block_types = ["CrossAttnDownBlock2D", "DownBlock2D"]
up_block_types = ["UpBlock2D", "CrossAttnUpBlock2D"]
block_out_channels = [8, 16]
layers_per_block = 1
cross_attention_dim = 8
attention_head_dim = 2
norm_num_groups = 4
use_linear_projection = true

[model.autoencoder]
down_block_types = ["DownEncoderBlock2D", "DownEncoderBlock2D"]
up_block_types = ["UpDecoderBlock2D", "UpDecoderBlock2D"]
block_out_channels = [8, 8]
norm_num_groups = 4

[[stages]]
name = "projection"
batch = 4
density = 0.3
condition_dropout = 0.2
objectives = [{ kind = "feedback", weight = 1.0 }]
[stages.train]
save_every = 1
groups = [{ patterns = ["projection.*", "null_condition", "unet.*"], learning_rate = 3e-3 }]
schedule = { steps = 3, warmup = 1 }

[[stages]]
name = "encoder"
batch = 4
density = 0.3
objectives = [
    { kind = "feedback", weight = 1.0 },
    { kind = "contrast", weight = 0.2, negatives = 2, second_view = 0.9 },
    { kind = "retention", weight = 0.5, image_text = 1.0, texts = "texts.txt" },
]
[stages.train]
save_every = 1
groups = [{ patterns = ["*.lora.*"], learning_rate = 1e-2 }]
lora = [{ patterns = ["vision_model.*.self_attn.*_proj", "vision_model.visual_projection"], rank = 2, alpha = 4, dropout = 0.2 }]
schedule = { steps = 6, warmup = 1 }
"#;

struct Case {
    folder: tempfile::TempDir,
    run: FeedbackRun,
    foundation: EncoderFoundation,
}

fn clip() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/clip")
}

impl Case {
    fn new(overrides: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.toml");
        fs::write(&file, CONFIG).unwrap();
        let overrides: Vec<String> = overrides.iter().map(|o| (*o).to_owned()).collect();
        let mut run = FeedbackRun::read(&file, &overrides).unwrap();
        let pictures = folder.path().join("pictures/deeper");
        fs::create_dir_all(&pictures).unwrap();
        for number in 0..8u8 {
            let picture = RgbImage::from_fn(40, 33, |x, y| {
                let part = if (x + u32::from(number) * 5) % 40 < 20 {
                    200
                } else {
                    30
                };
                Rgb([part, number * 30, (y * 7) as u8])
            });
            picture
                .save(pictures.join(format!("{number}.png")))
                .unwrap();
        }
        run.data = vec![pictures_at(&folder.path().join("pictures")).unwrap()];
        let sd = folder.path().join("sd");
        let model = FeedbackModel::new(&run.model, &Device::flex()).unwrap();
        let model = initialize(model, 3, &[]);
        let weights = "diffusion_pytorch_model.safetensors";
        for (part, config) in [
            ("unet", serde_json::to_string(&run.model.unet).unwrap()),
            (
                "vae",
                serde_json::to_string(&run.model.autoencoder).unwrap(),
            ),
        ] {
            fs::create_dir_all(sd.join(part)).unwrap();
            fs::write(sd.join(part).join("config.json"), config).unwrap();
        }
        save(
            &model.unet,
            &sd.join("unet").join(weights),
            Dtype::F32,
            Default::default(),
        )
        .unwrap();
        let vae = sd.join("vae").join(weights);
        save(&model.autoencoder, &vae, Dtype::F32, Default::default()).unwrap();
        Self {
            foundation: EncoderFoundation {
                encoder: clip(),
                diffusion: sd,
                trained: None,
            },
            folder,
            run,
        }
    }

    fn task(&self, stage: usize) -> FeedbackTask {
        let stage = &self.run.stages[stage];
        let context = SourceContext {
            seed: 1,
            image_size: 32,
            root: self.folder.path().into(),
            limits: ImageLimits::default(),
        };
        let batches = picture_batches(stage, &self.run.data, &self.run.model, &context).unwrap();
        let reference = stage.retains().then(|| {
            let device = Device::flex().autodiff();
            let tower = self.foundation.original(&self.run.model, &device).unwrap();
            let encoder = DualEncoder::open(&clip(), &Device::flex()).unwrap();
            let texts = ["a cat".to_owned(), "a red dog".to_owned()];
            Reference::new(tower)
                .with_texts(&encoder, &texts, &device)
                .unwrap()
        });
        FeedbackTask::new(stage, batches, reference, 1, &Compute::cpu())
    }

    /// A stage in a folder, upon what an earlier one trained.
    fn train(
        &self,
        stage: usize,
        folder: &str,
        before: Option<&Path>,
        observer: &mut dyn Observer,
    ) -> Result<Trained<FeedbackModel>, EngineError> {
        self.train_together(stage, folder, before, (observer, Arc::new(Alone)))
    }

    /// As [`Self::train`], by several processes.
    fn train_together(
        &self,
        stage: usize,
        folder: &str,
        before: Option<&Path>,
        (observer, processes): (&mut dyn Observer, Arc<dyn Collective>),
    ) -> Result<Trained<FeedbackModel>, EngineError> {
        let foundation = EncoderFoundation {
            trained: before.map(Path::to_owned),
            ..self.foundation.clone()
        };
        let device = Device::flex().autodiff();
        let start = foundation.assemble(&self.run.model, 1, &device)?;
        let own = &self.run.stages[stage];
        let identity = RunIdentity {
            seed: 1,
            ..RunIdentity::new(&own.name, &own.train)
        };
        let run = Run {
            carried: before.map(Path::to_owned).into_iter().collect(),
            processes,
            ..Run::new(identity, &self.folder.path().join(folder))
        };
        train(&self.task(stage), start, &run, observer)
    }
}

fn values(model: &FeedbackModel) -> BTreeMap<String, Vec<f32>> {
    state(model)
        .into_iter()
        .map(|t| (t.name, t.values))
        .collect()
}

fn changed(before: &BTreeMap<String, Vec<f32>>, now: &BTreeMap<String, Vec<f32>>) -> Vec<String> {
    let changed = before
        .iter()
        .filter(|(path, values)| now[*path] != **values);
    changed.map(|(path, _)| path.clone()).collect()
}

#[test]
fn two_stages_resumed_bit_for_bit_and_given_back_as_they_came() {
    let case = Case::new(&[]);
    let device = Device::flex();
    let start = values(
        &case
            .foundation
            .assemble(&case.run.model, 1, &device)
            .unwrap(),
    );

    let first = case.train(0, "first", None, &mut Silent).unwrap();
    let after_first = values(&first.model);
    let moved = changed(&start, &after_first);
    assert!(
        moved.iter().any(|path| path.starts_with("projection.")),
        "{moved:?}"
    );
    assert!(moved.iter().any(|path| path.starts_with("unet.")));
    let frozen =
        |path: &String| path.starts_with("vision_model.") || path.starts_with("autoencoder.");
    assert!(!moved.iter().any(frozen), "{moved:?}");

    let whole = case
        .train(1, "whole", Some(&first.weights), &mut Silent)
        .unwrap();
    let stopped = case.train(
        1,
        "parts",
        Some(&first.weights),
        &mut common::StopAfter::new(2),
    );
    assert!(matches!(stopped, Err(EngineError::Interrupted { step: 2 })));
    let resumed = case
        .train(1, "parts", Some(&first.weights), &mut Silent)
        .unwrap();
    let found = values(&whole.model);
    assert!(
        found == values(&resumed.model),
        "a resumed run is another run"
    );
    let losses = |folder: &str| -> Vec<_> {
        let lines = read_metrics(&case.folder.path().join(folder).join("metrics.jsonl")).unwrap();
        lines.iter().map(|line| line["loss"].clone()).collect()
    };
    assert_eq!(losses("whole").len(), 6);
    assert_eq!(losses("whole"), losses("parts"));
    let moved = changed(&after_first, &found);
    let adapted = |path: &String| path.contains("_proj") && path.ends_with(".weight");
    assert_eq!(moved.len(), 2 * 4 + 1, "{moved:?}");
    assert!(moved.iter().all(adapted), "{moved:?}");

    // Back in the layout in which it came, with the text tower as it was.
    let target = case.folder.path().join("corrected");
    save_encoder(&clip(), &whole.weights, &target).unwrap();
    let open = |folder: &Path| WeightsFile::open(&folder.join("model.safetensors")).unwrap();
    let (before, now) = (open(&clip()), open(&target));
    assert!(before.keys().eq(now.keys()));
    for key in before.keys() {
        let own = match key {
            "visual_projection.weight" => "vision_model.visual_projection.weight",
            other => other,
        };
        assert_eq!(before.shape(key), now.shape(key), "{key}");
        match found.get(own) {
            Some(values) => assert_eq!(now.f32(key).unwrap(), *values, "{key}"),
            None => assert_eq!(now.bytes(key), before.bytes(key), "{key}"),
        }
    }
    let picture = RgbImage::from_fn(32, 32, |x, y| Rgb([x as u8 * 8, y as u8 * 8, 77]));
    let embed = |folder: &Path| {
        DualEncoder::open(folder, &device)
            .unwrap()
            .images(std::slice::from_ref(&picture))
            .unwrap()
    };
    let (was, is) = (embed(&clip()), embed(&target));
    assert_ne!(was, is);
    let adapter = case.folder.path().join("whole/adapter/adapter_config.json");
    let text = fs::read_to_string(adapter).unwrap();
    assert!(
        text.contains("\"visual_projection\"")
            && text.contains("vision_model.encoder.layers.0.self_attn.q_proj")
    );
}

#[test]
fn processes_share_the_micro_batches_of_a_step() {
    let case = Case::new(&[
        "stages.1.train.accumulate=2",
        "stages.1.train.schedule.steps=3",
    ]);
    let first = case.train(0, "first", None, &mut Silent).unwrap().weights;
    case.train(1, "alone", Some(&first), &mut Silent).unwrap();
    std::thread::scope(|scope| {
        for member in Threads::team(2) {
            let (case, first) = (&case, &first);
            scope.spawn(move || {
                let watched: (&mut dyn Observer, Arc<dyn Collective>) =
                    (&mut Silent, Arc::new(member));
                case.train_together(1, "together", Some(first), watched)
                    .unwrap();
            });
        }
    });
    let losses = |folder: &str| -> Vec<f64> {
        let lines = read_metrics(&case.folder.path().join(folder).join("metrics.jsonl")).unwrap();
        let losses = lines.iter().map(|line| line["loss"].as_f64().unwrap());
        losses.collect()
    };
    let (alone, together) = (losses("alone"), losses("together"));
    assert_eq!((alone.len(), together.len()), (3, 3));
    for (alone, together) in alone.iter().zip(&together) {
        let apart = (alone - together).abs();
        assert!(apart <= 1e-5 * alone.abs(), "{alone} {together}");
    }
}

/// Thirty steps on one batch of pictures, for each objective that restores.
#[test]
fn losses_fall_on_a_batch_that_stays() {
    let objective = |kind: &str| match kind {
        "contrast" => "stages.1.objectives=[{ kind = \"contrast\", weight = 1.0 }]".to_owned(),
        "inversion" => {
            "stages.1.objectives=[{ kind = \"inversion\", weight = 1.0, noise = 0.1 }]".to_owned()
        }
        _ => "stages.1.objectives=[{ kind = \"feedback\", weight = 1.0 }]".to_owned(),
    };
    for (kind, extra) in [
        ("feedback", &[][..]),
        ("contrast", &["model.condition=class"]),
        ("inversion", &["model.condition=embedding"]),
        (
            "flow",
            &[
                "model.condition=class",
                "model.path=flow",
                "model.fresh_denoiser=true",
                "stages.1.timesteps=logit_normal",
            ],
        ),
    ] {
        let objective = objective(kind);
        let everything = "stages.1.train.groups=[{ patterns = [\"vision_model.*\", \"projection.*\", \"unet.*\"], learning_rate = 3e-3 }]";
        let mut overrides = vec![
            objective.as_str(),
            everything,
            "stages.1.train.lora=[]",
            "stages.1.train.schedule={ steps = 30, warmup = 1 }",
            "stages.1.train.save_every=100",
            "stages.1.batch=8",
        ];
        overrides.extend(extra);
        let case = Case::new(&overrides);
        let task = Fixed(case.task(1));
        let device = Device::flex().autodiff();
        let start = case
            .foundation
            .assemble(&case.run.model, 1, &device)
            .unwrap();
        let own = &case.run.stages[1];
        let identity = RunIdentity::new(&own.name, &own.train);
        let run = Run::new(identity, &case.folder.path().join("fixed"));
        train(&task, start, &run, &mut Silent).unwrap();
        let lines = read_metrics(&run.folder.join("metrics.jsonl")).unwrap();
        let losses: Vec<f64> = lines
            .iter()
            .map(|line| line["loss"].as_f64().unwrap())
            .collect();
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let (early, late) = (mean(&losses[..3]), mean(&losses[27..]));
        assert!(late < 0.9 * early, "{kind}: {early} → {late}");
    }
}

/// Always the same pictures and the same noise.
struct Fixed(FeedbackTask);

impl Task for Fixed {
    type Model = FeedbackModel;
    type Batch = deem_data::Batch;

    fn batch(&self, _piece: &Piece) -> Result<Self::Batch, EngineError> {
        self.0.batch(&Piece::whole(0, 1))
    }

    fn loss(
        &self,
        model: &FeedbackModel,
        batch: &Self::Batch,
        _piece: &Piece,
        shares: &Shares,
    ) -> deem_engine::train::Loss {
        self.0.loss(model, batch, &Piece::whole(0, 1), shares)
    }
}

#[test]
fn what_cannot_be_meant_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    fs::write(&file, CONFIG).unwrap();
    let error = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|o| (*o).to_owned()).collect();
        FeedbackRun::read(&file, &overrides)
            .unwrap_err()
            .to_string()
    };
    for (change, told) in [
        (
            "model.projection=none",
            "as wide as the denoiser's condition (8), found 24",
        ),
        ("model.diffusion_size=15", "diffusion_size"),
        ("stages.1.density=2.0", "stages[1].density"),
        ("stages.1.batch=1", "stages[1].objectives[1]"),
        ("stages.1.objectives=[]", "stages[1].objectives"),
        (
            "stages.1.objectives=[{ kind = \"inversion\", weight = 1.0 }]",
            "model.condition = \"embedding\"",
        ),
        (
            "stages.1.objectives=[{ kind = \"retention\", weight = 1.0, image_text = 1.0 }]",
            "texts",
        ),
        (
            "stages.1.objectives=[{ kind = \"praise\", weight = 1.0 }]",
            "praise",
        ),
        ("stages.1.name=projection", "stages[1].name"),
        (
            "stages.1.train.lora=[{ patterns = [\"*\"], rank = 0, alpha = 1.0 }]",
            "lora[0].rank",
        ),
    ] {
        let found = error(&[change]);
        assert!(found.contains(told), "{change}: {found}");
    }
    // Data that is no data.
    let told = |folder: &Path| match pictures_at(folder) {
        Err(error) => error.to_string(),
        Ok(spec) => {
            let run = FeedbackRun::read(&file, &[]).unwrap();
            let context = SourceContext {
                seed: 1,
                image_size: 32,
                root: ".".into(),
                limits: ImageLimits::default(),
            };
            match picture_batches(&run.stages[0], &[spec], &run.model, &context) {
                Err(error) => error.to_string(),
                Ok(_) => panic!("pictures where there are none"),
            }
        }
    };
    assert!(told(&folder.path().join("nowhere")).contains("found nothing"));
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(told(&empty).contains("it should hold pictures"));
    fs::write(empty.join("captions.jsonl"), "{}").unwrap();
    assert!(told(&empty).contains("captions without pictures"));
    // An encoder that is another one.
    let case = Case::new(&[]);
    let mut other = case.run.model.clone();
    let ImageConfig::Vit(encoder) = &mut other.encoder else {
        panic!("a ViT");
    };
    encoder.num_attention_heads = 4;
    let found = case
        .foundation
        .assemble(&other, 1, &Device::flex())
        .unwrap_err()
        .to_string();
    assert!(
        found.contains("config.json") && found.contains("num_attention_heads"),
        "{found}"
    );
}

#[test]
fn siglip_and_open_clip_are_corrected_and_given_back_as_they_came() {
    let encoders = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/encoders");
    let trained =
        "stages.0.train.groups=[{ patterns = [\"vision_model.*\"], learning_rate = 1e-2 }]";
    let siglip = [
        "model.encoder.family=siglip",
        "model.encoder.intermediate_size=40",
        "model.encoder.num_attention_heads=3",
        "model.encoder.hidden_act=gelu_pytorch_tanh",
        "model.encoder.layer_norm_eps=1e-6",
    ];
    let open_clip = [
        "model.encoder.intermediate_size=96",
        "model.encoder.num_attention_heads=3",
    ];
    let cases = [
        ("siglip", &siglip[..], "model.safetensors", "vision_model."),
        (
            "open_clip_vit",
            &open_clip,
            "open_clip_model.safetensors",
            "visual.",
        ),
        (
            "open_clip_convnext",
            &[],
            "open_clip_model.safetensors",
            "visual.",
        ),
    ];
    let device = Device::flex();
    for (name, own, file, vision) in cases {
        let mut case = Case::new(&[own, &[trained]].concat());
        case.foundation.encoder = encoders.join(name);
        if own.is_empty() {
            let folder = EncoderFolder::read(&case.foundation.encoder).unwrap();
            case.run.model.encoder = folder.config().image.clone();
        }
        let trained = case.train(0, "run", None, &mut Silent).unwrap();
        let target = case.folder.path().join("corrected");
        save_encoder(&case.foundation.encoder, &trained.weights, &target).unwrap();
        let open = |folder: &Path| WeightsFile::open(&folder.join(file)).unwrap();
        let (before, now) = (open(&case.foundation.encoder), open(&target));
        assert!(before.keys().eq(now.keys()), "{name}");
        let moved: Vec<&str> = before
            .keys()
            .filter(|key| before.bytes(key) != now.bytes(key))
            .collect();
        assert!(!moved.is_empty(), "{name}");
        assert!(moved.iter().all(|key| key.starts_with(vision)), "{moved:?}");
        // What the trained tower sees is what everybody sees who opens the folder.
        let picture = RgbImage::from_fn(32, 32, |x, y| Rgb([x as u8 * 8, y as u8 * 8, 77]));
        let seen = DualEncoder::open(&target, &device)
            .unwrap()
            .images(std::slice::from_ref(&picture))
            .unwrap();
        let planes = (0..3).flat_map(|c| picture.pixels().map(move |p| f32::from(p.0[c]) / 255.0));
        let pixels = TensorData::new(planes.collect::<Vec<f32>>(), [1, 3, 32, 32]);
        let pixels = Tensor::<4>::from_data(pixels, &device.clone().autodiff());
        let own: Vec<f64> = trained
            .model
            .see(pixels)
            .embeds
            .into_data()
            .iter()
            .collect();
        let length = own.iter().map(|v| v * v).sum::<f64>().sqrt();
        for (own, seen) in own.iter().zip(&seen[0]) {
            assert!((own / length - seen).abs() < 1e-5, "{name}: {own} {seen}");
        }
    }
}

#[test]
fn an_encoder_of_another_kind_is_named() {
    let case = Case::new(&["model.encoder.family=siglip"]);
    let error = case
        .foundation
        .assemble(&case.run.model, 1, &Device::flex());
    let told = error.err().unwrap().to_string();
    assert!(told.contains("family"), "{told}");
    let mut case = Case::new(&[]);
    let encoders = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/encoders");
    case.foundation.encoder = encoders.join("open_clip_convnext");
    let error = case
        .foundation
        .assemble(&case.run.model, 1, &Device::flex());
    let told = error.err().unwrap().to_string();
    assert!(told.contains("ConvNeXt"), "{told}");
}
