//! Which gates are not passed, of those that the experiment states.

use deem_metrics::statistics::Interval;

use super::Gates;
use crate::config::GateLimits;

impl Gates {
    /// What is not reached, one line each: part, what was expected, what was measured. Empty if all is well.
    pub fn failures(&self, limits: &GateLimits) -> Vec<String> {
        let mut failed = Vec::new();
        let mut least = |name: String, limit: Option<f64>, measured: Option<&Interval>, unit| {
            let Some(limit) = limit else { return };
            match measured {
                // Not a number is not enough either.
                Some(found) if found.mean >= limit => {}
                Some(found) => failed.push(format!(
                    "{name}: expected at least {limit} {unit}, found {:.2} [{:.2}, {:.2}]",
                    found.mean, found.low, found.high
                )),
                None => failed.push(format!(
                    "{name}: expected at least {limit} {unit}, found no measurement"
                )),
            }
        };
        if self.language.is_empty() {
            least("language model".into(), limits.language, None, "%");
        }
        for (attribute, form, accuracy) in &self.language {
            let name = format!("language model, {}, {}", attribute.name(), form.words());
            least(name, limits.language, Some(accuracy), "%");
        }
        let known = self.zero_shot.first();
        let name = known.map_or("known drawings", |(name, _)| name);
        least(
            format!("encoder, zero-shot, {name}"),
            limits.zero_shot,
            known.map(|(_, accuracy)| accuracy),
            "%",
        );
        least(
            "encoder, noun probe in scenes".into(),
            limits.noun_probe,
            self.in_scenes.as_ref().map(|s| &s.noun_probe),
            "%",
        );
        least(
            "warm start, loss of a caption with another picture".into(),
            limits.connection,
            self.connection.as_ref().map(|(_, rise)| rise),
            "nats per word above its own (`deem pretrain connect` makes it)",
        );
        let reading = self.reading.as_ref();
        least(
            "warm start, objects named".into(),
            limits.named,
            reading.map(|r| &r.named),
            "%",
        );
        if limits.answered.is_some() && reading.is_none() {
            least("warm start, questions".into(), limits.answered, None, "%");
        }
        for (attribute, accuracy) in reading.iter().flat_map(|r| &r.answered) {
            let name = format!("warm start, questions about {}", attribute.name());
            least(name, limits.answered, Some(accuracy), "%");
        }
        failed.extend(self.deaf(limits));
        failed
    }

    /// Attributes that the diffusion model does not listen to enough.
    fn deaf(&self, limits: &GateLimits) -> Vec<String> {
        let Some(share) = limits.listening else {
            return Vec::new();
        };
        let Some((error, rises)) = &self.listening else {
            return vec![format!(
                "diffusion model: expected rises of at least {share} of its error, found no measurement"
            )];
        };
        let heard = |rise: &Interval| rise.low > 0.0 && rise.mean >= share * error;
        rises
            .iter()
            .filter(|(_, rise)| !heard(rise))
            .map(|(attribute, rise)| {
                format!(
                    "diffusion model, {}: expected a rise of at least {:.5} ({share} of the error), its interval above 0, \
                     found {:.5} [{:.5}, {:.5}]",
                    attribute.name(),
                    share * error,
                    rise.mean,
                    rise.low,
                    rise.high
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pretrain::check::{InScenes, Reading};
    use deem_data::world::scene::{Attribute, Form};

    fn about(mean: f64) -> Interval {
        Interval {
            mean,
            low: mean - 0.01,
            high: mean + 0.01,
        }
    }

    fn measured() -> Gates {
        Gates {
            zero_shot: vec![
                ("captioned styles", about(91.0)),
                ("web styles", about(20.0)),
            ],
            classes: 160,
            in_scenes: Some(InScenes {
                main_thing: about(70.0),
                noun_probe: about(86.0),
            }),
            autoencoder: Some((0.05, 26.0)),
            listening: Some((
                0.1,
                vec![
                    (Attribute::Colour, about(0.02)),
                    (Attribute::Position, about(0.005)),
                ],
            )),
            language: vec![
                (Attribute::Colour, Form::Open, about(98.0)),
                (Attribute::Colour, Form::TwoOption, about(96.0)),
            ],
            connection: Some((1.5, about(0.6))),
            reading: Some(Reading {
                named: about(92.0),
                answered: vec![(Attribute::Quantity, about(f64::NAN))],
            }),
        }
    }

    const ALL: GateLimits = GateLimits {
        language: Some(97.0),
        zero_shot: Some(90.0),
        noun_probe: Some(85.0),
        listening: Some(0.03),
        connection: Some(0.5),
        named: Some(90.0),
        answered: Some(75.0),
    };

    #[test]
    fn what_is_stated_and_not_reached_is_listed() {
        let failed = measured().failures(&ALL);
        assert_eq!(failed.len(), 3, "{failed:#?}");
        assert!(failed[0].starts_with(
            "language model, color, two options: expected at least 97 %, found 96.00"
        ));
        assert!(failed[1].contains("questions about quantity") && failed[1].contains("NaN"));
        // 0.005 is below three hundredths of 0.1, and its interval holds zero.
        assert!(
            failed[2].starts_with("diffusion model, position: expected a rise of at least 0.00300")
        );
        assert!(measured().failures(&GateLimits::default()).is_empty());
    }

    #[test]
    fn what_was_not_measured_is_not_reached() {
        let unmade = Gates {
            zero_shot: vec![],
            in_scenes: None,
            autoencoder: None,
            listening: None,
            language: vec![],
            connection: None,
            reading: None,
            classes: 160,
        };
        let failed = unmade.failures(&ALL);
        assert_eq!(failed.len(), 7, "{failed:#?}");
        assert!(
            failed
                .iter()
                .all(|line| line.ends_with("found no measurement"))
        );
    }
}
