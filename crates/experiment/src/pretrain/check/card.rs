//! The gates as a model card has them.

use std::fmt::Write as _;

use deem_metrics::statistics::Interval;

use super::{Gates, InScenes, Reading};
use crate::standins::StandIns;
use deem_engine::EngineError;

impl std::fmt::Display for Gates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = |of: &Interval| format!("{:.1} % [{:.1}, {:.1}]", of.mean, of.low, of.high);
        writeln!(f, "## Gates\n")?;
        if !self.zero_shot.is_empty() {
            let shown = self.zero_shot.iter();
            let shown: Vec<String> = shown
                .map(|(name, accuracy)| format!("{name} {}", share(accuracy)))
                .collect();
            writeln!(
                f,
                "Zero-shot accuracy of the encoder, {} classes: {}.\n",
                self.classes,
                shown.join(", ")
            )?;
        }
        if let Some(InScenes {
            main_thing,
            noun_probe,
        }) = &self.in_scenes
        {
            writeln!(
                f,
                "The encoder in scenes of several things: the main one by zero-shot {}; a linear probe \
                 finds something that is there in {}.\n",
                share(main_thing),
                share(noun_probe)
            )?;
        }
        if let Some((rmse, psnr)) = self.autoencoder {
            writeln!(
                f,
                "Autoencoder: root mean squared error {rmse:.4} of 1, {psnr:.1} dB.\n"
            )?;
        }
        if let Some((base, rises)) = &self.listening {
            writeln!(
                f,
                "Listening test: denoising error {base:.4} with true captions; rise when one attribute is made wrong (95 % interval):\n"
            )?;
            writeln!(f, "| attribute | rise | low | high |\n|---|---|---|---|")?;
            for (attribute, rise) in rises {
                writeln!(
                    f,
                    "| {} | {:.5} | {:.5} | {:.5} |",
                    attribute.name(),
                    rise.mean,
                    rise.low,
                    rise.high
                )?;
            }
        }
        if let Some((own, rise)) = &self.connection {
            writeln!(
                f,
                "\nConnection: caption loss {own:.3} nats per word with its own image; {:+.3} [{:+.3}, {:+.3}] with another.",
                rise.mean, rise.low, rise.high
            )?;
        }
        if let Some(Reading { named, answered }) = &self.reading {
            writeln!(
                f,
                "\nThe warm start names single objects in {}; it answers open questions about",
                share(named)
            )?;
            for (attribute, accuracy) in answered {
                writeln!(f, "- {}: {}", attribute.name(), share(accuracy))?;
            }
        }
        if self.language.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nLanguage model, scene described in words:\n")?;
        writeln!(
            f,
            "| attribute | form | accuracy % | low | high |\n|---|---|---|---|---|"
        )?;
        for (attribute, form, accuracy) in &self.language {
            writeln!(
                f,
                "| {} | {} | {:.1} | {:.1} | {:.1} |",
                attribute.name(),
                form.words(),
                accuracy.mean,
                accuracy.low,
                accuracy.high
            )?;
        }
        Ok(())
    }
}

/// Writes the gates into the stand-ins' card, which goes into their overlay.
///
/// # Errors
/// Those of [`StandIns::save_card`].
pub fn write_cards(standins: &StandIns, gates: &Gates) -> Result<(), EngineError> {
    let old = standins.card();
    let head = old.split("## Gates").next().unwrap_or_default().trim_end();
    let mut text = String::new();
    let _ = write!(text, "{head}\n\n{gates}");
    standins.save_card(text.trim_start())
}
