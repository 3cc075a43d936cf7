//! `deem pretrain`: make the stand-in foundation models.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use burn::module::Module;
use burn::tensor::Device;
use deem_data::source::Source;
use deem_engine::task::DeemTask;
use deem_engine::train::train;
use deem_engine::{Compute, Precision};
use deem_experiment::built_in::BuiltIn;
use deem_experiment::config::PretrainStage;
use deem_experiment::pretrain::{
    AutoencoderTask, Clip, ClipTask, DiffusionTask, LanguageTask, Pairs, TextToImage, check,
    latent_scale,
};
use deem_experiment::standins::{StandIns, set_scaling_factor};
use deem_model::autoencoder::Autoencoder;
use deem_model::scheduler::NoiseSchedule;
use deem_model::weights::init::initialize;
use deem_model::weights::state;

use super::setup::Setup;
use crate::args::{Part, Pretrain};
use crate::progress::TrainProgress;

/// Runs the command.
pub fn run(setup: &Setup, args: &Pretrain) -> Result<()> {
    let parts: &[Part] = match args.part {
        Part::All => &[
            Part::Autoencoder,
            Part::Clip,
            Part::Miner,
            Part::Llm,
            Part::Diffusion,
            Part::Connect,
            Part::Check,
        ],
        ref one => std::slice::from_ref(one),
    };
    for part in parts {
        // The autoencoder's scaling factor is written into the preset, so it is read again.
        let mut maker = Maker {
            standins: setup.open()?,
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
            Part::Clip => maker.clip("clip", &args.output)?,
            Part::Miner => maker.clip("miner", &args.output)?,
            Part::Autoencoder => maker.autoencoder(&args.output)?,
            Part::Diffusion => maker.diffusion(&args.output)?,
            Part::Llm => maker.llm(&args.output)?,
            Part::Connect => maker.connect(&args.output)?,
            Part::Check => {
                let report = check::run(&maker.standins, &maker.compute.device)?;
                print!("{report}");
                check::write_cards(&maker.standins, &report)?;
            }
            Part::All => unreachable!("expanded above"),
        }
    }
    Ok(())
}

fn pairs(data: &BuiltIn, source: Arc<dyn Source>, stage: &PretrainStage, side: usize) -> Pairs {
    Pairs {
        source,
        tokenizer: data.tokenizer.clone(),
        batch: stage.batch,
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

    fn identity(&self) -> String {
        format!("seed {}", self.seed)
    }

    fn clip(&mut self, part: &str, output: &Path) -> Result<()> {
        let preset = self.standins.preset().clone();
        let experiment = self.standins.experiment().clone();
        let data = self.standins.data()?;
        let (vision, stage, seed) = match part {
            "miner" => (&experiment.miner, &experiment.pretrain.miner, self.seed + 1),
            _ => (
                &preset.model.image_encoder.vision,
                &experiment.pretrain.clip,
                self.seed,
            ),
        };
        let task = ClipTask {
            pairs: pairs(&data, data.clip(seed)?, stage, preset.model.image_size),
            device: self.device(),
        };
        let model = initialize(
            Clip::new(vision, &experiment.clip_text, &self.device()),
            seed,
            &[],
        );
        let trained = train(
            &task,
            model,
            &stage.train,
            &self.identity(),
            &output.join(part),
            &mut TrainProgress::new(part, true),
        )?;
        Ok(self.standins.save_clip(part, &trained.model)?)
    }

    fn autoencoder(&mut self, output: &Path) -> Result<()> {
        let preset = self.standins.preset().clone();
        let experiment = self.standins.experiment().clone();
        let data = self.standins.data()?;
        let task = AutoencoderTask {
            pairs: pairs(
                &data,
                data.diffusion(self.seed)?,
                &experiment.pretrain.autoencoder,
                preset.model.diffusion_size,
            ),
            seed: self.seed,
            device: self.device(),
        };
        let model = Autoencoder::new(&preset.model.autoencoder, &self.device());
        let model = initialize(model, self.seed, &[]);
        let trained = train(
            &task,
            model,
            &experiment.pretrain.autoencoder.train,
            &self.identity(),
            &output.join("autoencoder"),
            &mut TrainProgress::new("autoencoder", true),
        )?;
        let model = trained.model.valid();
        set_scaling_factor(self.standins.root(), latent_scale(&model, &task, 16)?)?;
        Ok(self.standins.save("autoencoder", &state(&model))?)
    }

    fn diffusion(&mut self, output: &Path) -> Result<()> {
        let preset = self.standins.preset().clone();
        let experiment = self.standins.experiment().clone();
        let data = self.standins.data()?;
        let task = DiffusionTask {
            pairs: pairs(
                &data,
                data.diffusion(self.seed + 1)?,
                &experiment.pretrain.diffusion,
                preset.model.diffusion_size,
            ),
            autoencoder: self.standins.autoencoder(&self.compute.device)?.no_grad(),
            schedule: NoiseSchedule::new(&preset.model.scheduler)?,
            caption_length: check::CAPTION_LENGTH,
            seed: self.seed,
            device: self.device(),
        };
        let model = TextToImage::new(
            &experiment.diffusion_text,
            &preset.model.unet,
            &self.device(),
        );
        let model = initialize(model, self.seed, &[]);
        let trained = train(
            &task,
            model,
            &experiment.pretrain.diffusion.train,
            &format!(
                "{} {}",
                self.identity(),
                self.standins.identity_of("autoencoder")
            ),
            &output.join("diffusion"),
            &mut TrainProgress::new("diffusion", true),
        )?;
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
        let source = data.language(self.seed)?;
        let task = LanguageTask {
            batches: data.text_batches(source, (stage.batch, 1), &preset.spec())?,
            tokens: preset.model.tokens,
            device: self.device(),
        };
        let model = LanguageTask::model(&preset.model.llama, self.seed, &self.device());
        let trained = train(
            &task,
            model,
            &stage.train,
            &self.identity(),
            &output.join("llm"),
            &mut TrainProgress::new("llm", true),
        )?;
        Ok(self.standins.save("llm", &state(&trained.model))?)
    }

    fn connect(&mut self, output: &Path) -> Result<()> {
        let preset = self.standins.preset().clone();
        let experiment = self.standins.experiment().clone();
        let data = self.standins.data()?;
        let parts = ["clip", "autoencoder", "unet", "llm"];
        let made_of: Vec<String> = parts.iter().map(|p| self.standins.identity_of(p)).collect();
        let identity = format!("{} {}", self.identity(), made_of.join(" "));
        let mut model = self.standins.assemble(self.seed, &self.device())?;
        for stage in &experiment.pretrain.connect {
            let samples = self.seed + 1000;
            let task = DeemTask::new(
                stage,
                data.stage_batches(stage, &preset.spec(), samples)?,
                self.seed,
                &self.compute,
            );
            let name = format!("connect-{}", stage.name);
            let watch = &mut TrainProgress::new(&name, true);
            let run = output.join(&name);
            model = train(&task, model, &stage.train, &identity, &run, watch)?.model;
        }
        Ok(self.standins.save_connected(&model)?)
    }
}
