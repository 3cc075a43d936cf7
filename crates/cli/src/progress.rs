//! What a person sees while waiting: a bar on a terminal, sparse lines elsewhere.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use deem_engine::train::parameters::by_component;
use deem_engine::train::{Observer, ParameterInfo, StepReport};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::interrupt;

/// Where log messages go, if not to standard error.
static LOG: OnceLock<File> = OnceLock::new();

/// Sends log messages to a file from now on: of several processes one speaks.
pub fn log_to(path: &Path) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let file = File::options().create(true).append(true).open(path);
    let file = file.with_context(|| path.display().to_string())?;
    let _ = LOG.set(file);
    Ok(())
}

/// Sends log messages to standard error; `RUST_LOG` overrides.
pub fn init_log(verbose: u8) {
    let level = ["warn", "info", "debug"][usize::from(verbose.min(2))];
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| -> Box<dyn Write> {
            match LOG.get() {
                Some(file) => Box::new(file),
                None => Box::new(std::io::stderr()),
            }
        })
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}

/// All bars of a terminal: runs go side by side.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(15);

/// Progress of one piece of work with a known length.
pub struct Progress {
    name: String,
    bar: ProgressBar,
    terminal: bool,
    started: Instant,
    last_line: Instant,
    first: u64,
}

impl Progress {
    /// Starts a bar of `length` steps.
    pub fn new(name: &str, length: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal {
            BARS.add(ProgressBar::new(length))
        } else {
            let bar = ProgressBar::hidden();
            bar.set_length(length);
            bar
        };
        let style = "{prefix:>24} {wide_bar} {pos}/{len} · {per_sec} · {eta} left  {msg}";
        bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
        bar.set_prefix(name.to_owned());
        Self {
            name: name.into(),
            bar,
            terminal,
            started: Instant::now(),
            last_line: Instant::now(),
            first: 0,
        }
    }

    /// Work done before this run.
    pub fn skip_to(&mut self, position: u64) {
        self.first = position;
        self.bar.set_position(position);
        self.bar.reset_eta();
    }

    /// Work done so far, with a short note.
    pub fn set(&mut self, position: u64, note: &str) {
        self.bar.set_position(position);
        self.bar.set_message(note.to_owned());
        let length = self.bar.length().unwrap_or(position);
        let due = self.last_line.elapsed() >= LINE_EVERY || position == length;
        if self.terminal || !due {
            return;
        }
        self.last_line = Instant::now();
        let done = position.saturating_sub(self.first).max(1) as f64;
        let speed = done / self.started.elapsed().as_secs_f64().max(1e-9);
        let left = (length.saturating_sub(position)) as f64 / speed;
        eprintln!(
            "{:>24} {position}/{length} · {speed:.2}/s · {left:.0} s left  {note}",
            self.name
        );
    }

    /// Ends the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Shows how far a picture that is being drawn has come.
pub fn drawing() -> impl FnMut(usize, usize) -> bool {
    let mut progress: Option<Progress> = None;
    move |done, steps| {
        let bar = progress.get_or_insert_with(|| Progress::new("drawing", steps as u64));
        bar.set(done as u64, "");
        if done == steps {
            bar.finish();
        }
        true
    }
}

/// Shows a training run and passes Ctrl-C on.
pub struct TrainProgress {
    name: String,
    progress: Option<Progress>,
    table: bool,
    silent: bool,
}

impl TrainProgress {
    /// Shows nothing and passes Ctrl-C on: of several processes one speaks.
    pub fn silent() -> Self {
        Self {
            silent: true,
            ..Self::new("", false)
        }
    }

    /// Watches a run of this name; `table` prints its trained and frozen parameters first.
    pub fn new(name: &str, table: bool) -> Self {
        Self {
            name: name.into(),
            progress: None,
            table,
            silent: false,
        }
    }
}

impl Observer for TrainProgress {
    fn on_start(&mut self, step: u64, steps: u64, parameters: &[ParameterInfo]) {
        if self.silent {
            return;
        }
        if self.table {
            eprint!("{}", parameter_table(parameters));
        }
        let mut progress = Progress::new(&self.name, steps);
        progress.skip_to(step);
        self.progress = Some(progress);
    }

    fn on_step(&mut self, report: &StepReport) {
        let figure = |name: &str| {
            let found = report.scalars.iter().find(|(n, _)| n == name);
            found.map(|(_, value)| *value)
        };
        let mut note = format!("loss {:.4}", figure("loss").unwrap_or(f64::NAN));
        for (name, value) in &report.scalars {
            if let Some(term) = name.strip_prefix("loss/") {
                note.push_str(&format!(" · {term} {value:.4}"));
            }
        }
        if let Some(progress) = &mut self.progress {
            progress.set(report.step, &note);
            if report.step == report.steps {
                progress.finish();
            }
        }
    }

    fn interrupted(&self) -> bool {
        interrupt::asked()
    }
}

/// Trained and frozen parameters by component.
pub fn parameter_table(parameters: &[ParameterInfo]) -> String {
    let row = |name: &str, total: usize, trainable: usize| {
        format!(
            "{name:<36}{:>14}{trainable:>14}{:>14}\n",
            total,
            total - trainable
        )
    };
    let mut text = format!(
        "{:<36}{:>14}{:>14}{:>14}\n",
        "component", "total", "trained", "frozen"
    );
    let (mut total, mut trainable) = (0, 0);
    for count in by_component(parameters) {
        text.push_str(&row(&count.name, count.total, count.trainable));
        total += count.total;
        trainable += count.trainable;
    }
    text + &row("sum", total, trainable)
}
