//! `deem pretrain`: make the stand-in foundation models.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use burn::module::Module;
use burn::tensor::Device;
use deem_data::source::Source;
use deem_data::world::source::Gathered;
use deem_engine::task::DeemTask;
use deem_engine::train::{
    Run, RunIdentity, Task, Trained, WEIGHTS_FROM, tokenizer_checksum, train, weights_checksum,
};
use deem_engine::{Compute, Precision};
use deem_experiment::built_in::BuiltIn;
use deem_experiment::config::{CaptionedStage, PretrainStage};
use deem_experiment::pretrain::{
    AutoencoderTask, Clip, ClipTask, DiffusionTask, LanguageTask, Pairs, TextToImage, check,
    latent_scale,
};
use deem_experiment::standins::StandIns;
use deem_model::autoencoder::Autoencoder;
use deem_model::clip::pyramid::VisionConfig;
use deem_model::scheduler::NoiseSchedule;
use deem_model::weights::init::{initialize, initialize_rest};
use deem_model::weights::{Checksum, state};
use serde_json::{Value, json};

use super::setup::Setup;
use crate::args::{Part, Pretrain};
use crate::progress::TrainProgress;

/// Folder of finished parts, in that of the run.
const STAND_INS: &str = "standins";

/// Runs the command.
pub fn run(setup: &Setup, args: &Pretrain) -> Result<()> {
    let overlay = args.output.join(STAND_INS);
    let all = || -> Result<Vec<Part>> {
        let attributes = setup
            .open()?
            .experiment()
            .pretrain
            .clip_attributes
            .is_some();
        let parts = [
            Part::Autoencoder,
            Part::Clip,
            Part::ClipAttributes,
            Part::Miner,
            Part::Llm,
            Part::Diffusion,
            Part::Connect,
            Part::Check,
        ];
        let made = |part: &Part| attributes || *part != Part::ClipAttributes;
        Ok(parts.into_iter().filter(made).collect())
    };
    let parts = match args.part {
        None => Vec::new(),
        Some(Part::All) => all()?,
        Some(one) => vec![one],
    };
    for part in parts {
        // Another part, and the autoencoder's scaling factor, may have been made since.
        let mut maker = Maker {
            standins: setup.open_with(&overlay)?,
            compute: Compute {
                precision: Precision::F32,
                ..setup.compute()?
            },
            seed: args.seed,
        };
        if let Some(shared) = maker.standins.experiment().shares.as_ref()
            && !matches!(part, Part::Connect | Part::Check)
        {
            bail!(
                "this preset takes its encoders and its diffusion model from {} and its language model as it \
                 is; only `connect` is its own",
                shared.display()
            );
        }
        match part {
            Part::Clip => maker.clip(&args.output)?,
            Part::ClipAttributes => maker.clip_attributes(&args.output)?,
            Part::Miner => maker.miner(&args.output)?,
            Part::Autoencoder => maker.autoencoder(&args.output)?,
            Part::Diffusion => maker.diffusion(&args.output)?,
            Part::Llm => maker.llm(&args.output)?,
            Part::Connect => maker.connect(&args.output)?,
            Part::Check => {
                if maker.standins.made().contains(&"unet") {
                    let sheet = check::samples(&maker.standins, &maker.compute.device)?;
                    let path = maker.standins.save_samples(&sheet)?;
                    eprintln!(
                        "{}: scenes, and what the diffusion model draws for their captions",
                        path.display()
                    );
                }
                let report = check::run(&maker.standins, &maker.compute.device)?;
                print!("{report}");
                let limits = maker.standins.experiment().gates.unwrap_or_default();
                let failed = report.failures(&limits);
                if !failed.is_empty() {
                    let count = failed.len();
                    bail!(
                        "no card is written, {count} {} passed ([gates] in experiment.toml):\n{}",
                        if count == 1 {
                            "gate is not"
                        } else {
                            "gates are not"
                        },
                        failed.join("\n")
                    );
                }
                check::write_cards(&maker.standins, &report)?;
            }
            Part::All => unreachable!("expanded above"),
        }
    }
    let standins = setup.open_with(&overlay)?;
    let made = standins.made().join(", ");
    match &args.install {
        Some(folder) => match standins.install(folder)?.as_slice() {
            [] => eprintln!("{}: all is there already", folder.display()),
            written => eprintln!("{}: wrote {}", folder.display(), written.join(", ")),
        },
        None if made.is_empty() => {}
        None => eprintln!(
            "{} holds {made}; `deem pretrain --install DIR`, with the same options, puts this into a folder of stand-ins",
            overlay.display()
        ),
    }
    Ok(())
}

fn pairs(data: &BuiltIn, source: Arc<dyn Source>, batch: usize, side: usize) -> Pairs {
    Pairs {
        source,
        tokenizer: data.tokenizer.clone(),
        batch,
        image_size: side as u32,
    }
}

struct Maker {
    standins: StandIns,
    compute: Compute,
    seed: u64,
}

impl Maker {
    /// Where to compute, with gradient tracking; what is made here is made in 32 bits.
    fn device(&self) -> Device {
        self.compute.device.clone().autodiff()
    }

    /// What a stand-in is trained with; its networks, its seed of samples and the weights it starts from are added.
    fn identity(&self, part: &str, stage: &PretrainStage, data: &BuiltIn) -> Result<RunIdentity> {
        Ok(RunIdentity {
            seed: self.seed,
            sample_seed: self.seed,
            batch: stage.batch,
            tokenizer: Some(tokenizer_checksum(&data.tokenizer)?),
            ..RunIdentity::new(part, &stage.train)
        })
    }

    fn clip(&mut self, output: &Path) -> Result<()> {
        let vision = self.standins.preset().model.image_encoder.vision.clone();
        let stage = self.standins.experiment().pretrain.clip.clone();
        self.fresh_encoder("clip", &vision, &stage, self.seed, output)
    }

    fn miner(&mut self, output: &Path) -> Result<()> {
        let vision = self.standins.experiment().miner.clone();
        let stage = self.standins.experiment().pretrain.miner.clone();
        self.fresh_encoder("miner", &vision, &stage, self.seed + 1, output)
    }

    /// Trains an encoder from random values.
    fn fresh_encoder(
        &mut self,
        part: &str,
        vision: &VisionConfig,
        stage: &PretrainStage,
        seed: u64,
        output: &Path,
    ) -> Result<()> {
        let data = self.standins.data()?;
        let text = &self.standins.experiment().clip_text;
        let identity = RunIdentity {
            seed,
            sample_seed: seed,
            model: self.towers(vision),
            ..self.identity(part, stage, &data)?
        };
        let model = initialize(Clip::new(vision, text, &self.device()), seed, &[]);
        self.contrastive(model, &data, data.clip(seed)?, identity, output)
    }

    /// The encoder goes on with captions of which some say everything.
    fn clip_attributes(&mut self, output: &Path) -> Result<()> {
        let Some(CaptionedStage {
            captions,
            batch,
            concepts,
            train,
        }) = self.standins.experiment().pretrain.clip_attributes.clone()
        else {
            bail!(
                "{}: pretrain.clip_attributes: expected how this part is trained, found nothing: the preset has no such part",
                self.standins.root().join("experiment.toml").display()
            );
        };
        let data = self.standins.data()?;
        let mut networks = self.towers(&self.standins.preset().model.image_encoder.vision);
        networks["captions"] = json!(captions);
        networks["concepts"] = json!(concepts);
        let identity = RunIdentity {
            weights: self.parts(&["clip"]),
            model: networks,
            ..self.identity("clip-attributes", &PretrainStage { batch, train }, &data)?
        };
        let model = initialize_rest(self.standins.clip(&self.device())?, self.seed, &[]);
        let gathered = Gathered {
            pairs: batch as u64,
            concepts,
        };
        let source = data.captioned(captions, gathered, self.seed)?;
        self.contrastive(model, &data, source, identity, output)
    }

    /// What an encoder is made of, for its identity.
    fn towers(&self, vision: &VisionConfig) -> Value {
        let text = &self.standins.experiment().clip_text;
        let side = self.standins.preset().model.image_size;
        json!({ "vision": vision, "text": text, "image_size": side })
    }

    /// Trains an encoder as `identity` says, in a folder of its name, and saves it.
    fn contrastive(
        &mut self,
        model: Clip,
        data: &BuiltIn,
        source: Arc<dyn Source>,
        identity: RunIdentity,
        output: &Path,
    ) -> Result<()> {
        let side = self.standins.preset().model.image_size;
        let task = ClipTask {
            pairs: pairs(data, source, identity.batch, side),
            device: self.device(),
        };
        let part = identity.task.clone();
        let trained = trained(&task, model, identity, &output.join(&part))?;
        Ok(self.standins.save_clip(&part, &trained.model)?)
    }

    fn autoencoder(&mut self, output: &Path) -> Result<()> {
        let preset = self.standins.preset().clone();
        let experiment = self.standins.experiment().clone();
        let data = self.standins.data()?;
        let stage = &experiment.pretrain.autoencoder;
        let side = preset.model.diffusion_size;
        let task = AutoencoderTask {
            pairs: pairs(&data, data.diffusion(self.seed, None)?, stage.batch, side),
            seed: self.seed,
            device: self.device(),
        };
        let model = Autoencoder::new(&preset.model.autoencoder, &self.device());
        let model = initialize(model, self.seed, &[]);
        // The scaling factor is what comes of this run.
        let mut networks = preset.model.autoencoder.clone();
        networks.scaling_factor = 1.0;
        let identity = RunIdentity {
            model: json!({ "autoencoder": networks, "image_size": side }),
            ..self.identity("autoencoder", stage, &data)?
        };
        let trained = trained(&task, model, identity, &output.join("autoencoder"))?;
        let model = trained.model.valid();
        let scale = latent_scale(&model, &task, 16)?;
        Ok(self.standins.save_autoencoder(&model, scale)?)
    }

    fn diffusion(&mut self, output: &Path) -> Result<()> {
        let preset = self.standins.preset().clone();
        let experiment = self.standins.experiment().clone();
        let data = self.standins.data()?;
        let stage = &experiment.pretrain.diffusion;
        let (side, samples) = (preset.model.diffusion_size, self.seed + 1);
        let curriculum = experiment.pretrain.curriculum;
        let task = DiffusionTask {
            pairs: pairs(
                &data,
                data.diffusion(samples, curriculum)?,
                stage.batch,
                side,
            ),
            autoencoder: self.standins.autoencoder(&self.compute.device)?.no_grad(),
            schedule: NoiseSchedule::new(&preset.model.scheduler)?,
            captions: experiment.captions(&data.tokenizer),
            noises: experiment.pretrain.noises,
            seed: self.seed,
            device: self.device(),
        };
        let model = TextToImage::new(
            &experiment.diffusion_text,
            &preset.model.unet,
            &self.device(),
        );
        let model = initialize(model, self.seed, &[]);
        let mut networks = json!({
            "text": experiment.diffusion_text, "unet": preset.model.unet, "scheduler": preset.model.scheduler,
            "autoencoder": preset.model.autoencoder, "image_size": side,
            "caption_length": task.captions.length,
        });
        if !task.captions.filling.is_default() {
            networks["filling"] = json!(task.captions.filling);
        }
        if let Some(curriculum) = curriculum {
            networks["curriculum"] = json!(curriculum);
        }
        if experiment.pretrain.noises > 1 {
            networks["noises"] = json!(experiment.pretrain.noises);
        }
        let identity = RunIdentity {
            sample_seed: samples,
            weights: self.parts(&["autoencoder"]),
            model: networks,
            ..self.identity("diffusion", stage, &data)?
        };
        let trained = trained(&task, model, identity, &output.join("diffusion"))?;
        self.standins.save("unet", &state(&trained.model.unet))?;
        Ok(self
            .standins
            .save("text_encoder", &state(&trained.model.text_encoder))?)
    }

    fn llm(&mut self, output: &Path) -> Result<()> {
        let preset = self.standins.preset().clone();
        let experiment = self.standins.experiment().clone();
        let data = self.standins.data()?;
        let stage = &experiment.pretrain.llm;
        let documents = experiment.pretrain.documents.clone();
        let source = data.language(documents.clone().unwrap_or_default(), self.seed)?;
        let task = LanguageTask {
            batches: data.text_batches(source, (stage.batch, 1), &preset.spec())?,
            tokens: preset.model.tokens,
            device: self.device(),
        };
        let model = LanguageTask::model(
            &preset.model.llama,
            &data.word_forms()?,
            self.seed,
            &self.device(),
        );
        let mut networks = json!({ "llama": preset.model.llama, "tokens": preset.model.tokens });
        if let Some(documents) = documents {
            networks["documents"] = json!(documents);
        }
        let identity = RunIdentity {
            max_tokens: Some(preset.max_tokens),
            model: networks,
            ..self.identity("llm", stage, &data)?
        };
        let trained = trained(&task, model, identity, &output.join("llm"))?;
        Ok(self.standins.save("llm", &state(&trained.model))?)
    }

    fn connect(&mut self, output: &Path) -> Result<()> {
        let preset = self.standins.preset().clone();
        let experiment = self.standins.experiment().clone();
        let data = self.standins.data()?;
        let mut model = self.standins.assemble(self.seed, &self.device())?;
        let mut before: Option<PathBuf> = None;
        for stage in &experiment.pretrain.connect {
            let samples = self.seed + 1000;
            let task = DeemTask::new(
                stage,
                data.stage_batches(stage, &preset.spec(), samples)?,
                self.seed,
                &self.compute,
            );
            let name = format!("connect-{}", stage.name);
            // A phase that draws nothing comes out the same beside any diffusion model.
            let draws = stage.loss.image > 0.0 || stage.loss.feedback > 0.0;
            let mut weights = self.parts(match draws {
                true => &["clip", "autoencoder", "unet", "llm"],
                false => &["clip", "llm"],
            });
            if let Some(before) = &before {
                weights.insert(WEIGHTS_FROM.into(), weights_checksum(before)?);
            }
            let identity = RunIdentity {
                seed: self.seed,
                sample_seed: samples,
                weights,
                tokenizer: Some(tokenizer_checksum(&data.tokenizer)?),
                ..RunIdentity::of_stage(stage, &preset.spec())
            };
            let run = Run {
                carried: before.into_iter().collect(),
                ..Run::new(identity, &output.join(&name))
            };
            let trained = train(&task, model, &run, &mut TrainProgress::new(&name, true))?;
            before = Some(trained.weights);
            model = trained.model;
        }
        Ok(self.standins.save_connected(&model, before.as_deref())?)
    }

    /// Checksums of stand-ins that others are made with.
    fn parts(&self, names: &[&str]) -> BTreeMap<String, Checksum> {
        let sums = names.iter();
        sums.map(|name| ((*name).to_owned(), self.standins.identity_of(name)))
            .collect()
    }
}

/// Trains a stand-in in a folder.
fn trained<T: Task>(
    task: &T,
    model: T::Model,
    identity: RunIdentity,
    folder: &Path,
) -> Result<Trained<T::Model>> {
    let mut progress = TrainProgress::new(&identity.task, true);
    let run = Run::new(identity, folder);
    Ok(train(task, model, &run, &mut progress)?)
}
