//! A benchmark: pictures of one shade, `<shade>.png`, and whether the model can name it.

use std::path::{Path, PathBuf};

use deem_data::DataError;
use deem_data::benchmark::{Item, Picture};
use deem_data::image::ImageLimits;
use deem_data::text::question_prompt;
use deem_engine::EngineError;
use deem_engine::evaluate::{AnswerForm, Answered, Answering, Benchmark, Question};
use deem_metrics::answer::ParseMode;
use deem_metrics::figures::{Family, Figure, Part};
use deem_metrics::statistics::accuracy;

/// The benchmark.
pub struct Shades;

impl Benchmark for Shades {
    fn name(&self) -> &str {
        "shades"
    }

    fn title(&self) -> &str {
        "Shades"
    }

    fn layout(&self) -> &str {
        "pictures that are called after their shade"
    }

    fn read(&self, folder: &Path, _limits: ImageLimits) -> Result<Vec<Item>, DataError> {
        let io = |cause| DataError::Io {
            path: folder.into(),
            cause,
        };
        let entries = std::fs::read_dir(folder).map_err(io)?;
        let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| Ok(entry?.path())).collect();
        let mut paths = paths.map_err(io)?;
        paths.sort();
        let item = |path: PathBuf| {
            let shade = path.file_stem().unwrap_or_default().to_string_lossy();
            let shade = shade.into_owned();
            Item {
                cluster: shade.clone(),
                question: "What is the shade?".into(),
                options: vec!["black".into(), "white".into()],
                answers: vec![if shade == "black" { "(a)" } else { "(b)" }.into()],
                ..Item::new(shade, "all", Picture::File(path))
            }
        };
        Ok(paths.into_iter().map(item).collect())
    }

    fn answering(&self) -> Answering {
        Answering::likelihood()
    }

    fn ask(&self, item: &Item) -> Question {
        let text = format!("{} (a) black (b) white", item.question);
        Question {
            segments: question_prompt(0, &text),
            text,
            form: AnswerForm::Choice,
        }
    }

    fn family(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Family, EngineError> {
        let scored: Result<Vec<_>, _> = answers.iter().map(|a| a.scored("", mode)).collect();
        let mut family = Family::new(self.name(), self.title());
        let figure = Figure::percent("accuracy", accuracy(&scored?)?);
        family.parts = vec![Part::new("all", [figure])];
        Ok(family)
    }
}
