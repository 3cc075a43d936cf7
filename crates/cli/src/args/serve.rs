//! Arguments of `deem serve`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use deem_serve::{Options, Schedule};

use super::{Fit, ModelChoice, Reading};

/// Arguments of `deem serve`. What they say is told at [`Options`].
#[derive(clap::Args, Debug)]
pub struct Serve {
    /// Address to listen at; others than this machine's own ask for --keys.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub host: IpAddr,
    /// Port; 0 is any that is free.
    #[arg(long, default_value_t = 8080, value_parser = super::whole::<u16>, allow_negative_numbers = true)]
    pub port: u16,
    /// Name of the model in requests; default: its own.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// A second model, as for --model, to be asked the same: usually one without feedback.
    #[arg(long, value_name = "MODEL")]
    pub compare: Option<String>,
    /// File of the keys that are accepted, one a line, plain or as sha256:HEX; it is read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// Answer other machines without keys.
    #[arg(long, conflicts_with = "keys")]
    pub no_keys: bool,
    /// Hosts from which pictures may be fetched, as example.org or example.org:8443; default: none.
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub allow_fetch: Vec<String>,
    /// Origins whose pages may ask from a browser, as https://example.org; default: none but the server's own.
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',')]
    pub cors: Vec<String>,
    /// Requests a minute for each key, or each address without keys; default: as many as come.
    #[arg(long, value_name = "N", value_parser = super::at_least_one::<u32>, allow_negative_numbers = true)]
    pub rate: Option<u32>,
    /// Requests that are being answered or wait at most, for each model; more get 429.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = super::at_least_one::<usize>, allow_negative_numbers = true)]
    pub queue: usize,
    /// Answers that grow side by side at most; more wait.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = super::at_least_one::<usize>, allow_negative_numbers = true)]
    pub max_batch: usize,
    /// Tokens of a prompt that are read between two tokens of the others.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = super::at_least_one::<usize>, allow_negative_numbers = true)]
    pub prompt_piece: usize,
    /// Tokens of a prompt and its answer at most; default: what the model can read.
    #[arg(long, value_name = "N", value_parser = super::at_least_one::<usize>, allow_negative_numbers = true)]
    pub context: Option<usize>,
    /// Megabytes (2^20) for encoded pictures, and as many for prompts, that may be asked about again.
    #[arg(long, value_name = "MB", default_value_t = 256, value_parser = super::whole::<usize>, allow_negative_numbers = true)]
    pub cache: usize,
    /// Connections at most.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = super::at_least_one::<usize>, allow_negative_numbers = true)]
    pub connections: usize,
    /// Megabytes (2^20) of a request, and of a fetched picture, at most.
    #[arg(long, value_name = "MB", default_value_t = 32, value_parser = megabytes, allow_negative_numbers = true)]
    pub max_body: u64,
    /// Pictures of a request at most.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = super::whole::<usize>, allow_negative_numbers = true)]
    pub max_pictures: usize,
    /// Tokens of an answer at most.
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = super::at_least_one::<usize>, allow_negative_numbers = true)]
    pub max_tokens: usize,
    /// Answers or pictures of a request at most.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = super::at_least_one::<usize>, allow_negative_numbers = true)]
    pub max_choices: usize,
    /// Answers that a request lets compare at most.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = super::at_least_one::<usize>, allow_negative_numbers = true)]
    pub max_answers: usize,
    /// Denoising steps of a drawing at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = super::at_least_one::<usize>, allow_negative_numbers = true)]
    pub max_steps: usize,
    /// Steps of test-time adaptation at most; 0 refuses it.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = super::whole::<usize>, allow_negative_numbers = true)]
    pub max_adapt: usize,
    /// Seconds that a client may take to send a request.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = super::at_least_one::<u64>, allow_negative_numbers = true)]
    pub patience: u64,
    /// Seconds that requests may go on after the server was told to end.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = super::whole::<u64>, allow_negative_numbers = true)]
    pub grace: u64,
    /// How pictures are read.
    #[command(flatten)]
    pub reading: Reading,
    /// Which model.
    #[command(flatten)]
    pub model: ModelChoice,
}

impl Serve {
    /// How much is done at once, and how much is kept.
    pub fn schedule(&self) -> Schedule {
        Schedule {
            batch: self.max_batch,
            piece: self.prompt_piece,
            pictures: self.cache << 20,
            prefixes: self.cache << 20,
        }
    }

    /// The same for the library.
    pub fn options(&self) -> Options {
        Options {
            host: self.host,
            port: self.port,
            keys: self.keys.clone(),
            no_keys: self.no_keys,
            allow_fetch: self.allow_fetch.clone(),
            cors: self.cors.clone(),
            max_body: usize::try_from(self.max_body << 20).unwrap_or(usize::MAX),
            max_pixels: self.model.max_megapixels * 1_000_000,
            max_pictures: self.max_pictures,
            max_tokens: self.max_tokens,
            max_choices: self.max_choices,
            max_answers: self.max_answers,
            max_steps: self.max_steps,
            max_adapt: self.max_adapt,
            rate: self.rate,
            queue: self.queue,
            connections: self.connections,
            patience: Duration::from_secs(self.patience),
            grace: Duration::from_secs(self.grace),
            padded: self.reading.fit == Fit::Pad,
            cut_off: self.reading.allow_truncated,
            ..Options::default()
        }
    }
}

/// Megabytes of a request.
fn megabytes(text: &str) -> Result<u64, String> {
    super::among(text, 1..=4096)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Args, Command};
    use super::*;

    #[test]
    fn the_command_line_has_the_librarys_defaults() {
        let Command::Serve(args) = Args::parse_from(["deem", "serve"]).command else {
            panic!("another command");
        };
        let (found, expected) = (args.options(), Options::default());
        assert_eq!(format!("{found:?}"), format!("{expected:?}"));
        assert_eq!(args.schedule(), Schedule::default());
    }
}
