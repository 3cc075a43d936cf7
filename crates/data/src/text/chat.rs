//! Conversations: whose turn it is, in the words that the model was taught.

use super::protocol::SYSTEM;
use super::template::Message;
use super::tokenizer::TextTokenizer;
use super::{dialogue_prompt, question_turn};
use crate::DataError;
use crate::sample::Segment;

/// What was asked, and what was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Pictures before the question.
    pub images: usize,
    /// Whether one of them has a region, which is asked about in other words.
    pub region: bool,
    /// The question.
    pub question: String,
    /// The answer; the last turn's is to be found.
    pub answer: Option<Vec<Said>>,
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Words.
    Text(String),
    /// A picture that the model drew.
    Picture,
}

impl TextTokenizer {
    /// Ids of a conversation up to where the model is to answer. Without pictures it is the language model that
    /// converses: in its own words if it has a [`ChatTemplate`](super::ChatTemplate). Questions about pictures have
    /// the words in which the connection to pictures was trained. Each picture is its mark and `placeholders`
    /// placeholders.
    ///
    /// - `system`: instructed before everything else, instead of the usual line
    ///
    /// # Errors
    /// `Tokenizer` if the template or the tokenizer fails.
    pub fn conversation(
        &self,
        system: Option<&str>,
        turns: &[Turn],
        placeholders: usize,
    ) -> Result<Vec<u32>, DataError> {
        let drawn = |turn: &Turn| {
            turn.answer
                .iter()
                .flatten()
                .any(|said| *said == Said::Picture)
        };
        let seen = turns.iter().any(|turn| turn.images > 0 || drawn(turn));
        if let Some(template) = self.chat_template().filter(|_| !seen) {
            let text = template.render(&self.messages(system, turns));
            let text = text.map_err(|error| self.wrong(format!("its chat template: {error}")))?;
            return self.encode_control(&text);
        }
        let special = self.special();
        let mut ids = vec![special.bos];
        let picture = |ids: &mut Vec<u32>| {
            ids.push(special.soi);
            ids.extend(std::iter::repeat_n(special.image, placeholders));
        };
        let mut seen = false;
        for (index, turn) in turns.iter().enumerate() {
            let images: Vec<usize> = (0..turn.images).collect();
            seen |= turn.images > 0;
            let prompt = if seen && !turn.region {
                question_turn
            } else {
                dialogue_prompt
            };
            let mut opening = (index == 0).then(|| system.unwrap_or(SYSTEM));
            for segment in prompt(false, &images, &turn.question) {
                match segment {
                    Segment::Text { text, .. } => {
                        let text = opening.take().unwrap_or_default().to_owned() + &text;
                        ids.extend(self.encode(&text)?);
                    }
                    Segment::Image { .. } => picture(&mut ids),
                    Segment::Bos | Segment::Eos { .. } => {}
                }
            }
            let Some(answer) = &turn.answer else {
                continue;
            };
            for said in answer {
                match said {
                    Said::Text(text) => ids.extend(self.encode(&format!(" {text}"))?),
                    Said::Picture => picture(&mut ids),
                }
            }
            ids.push(special.eos);
        }
        Ok(ids)
    }

    fn messages(&self, system: Option<&str>, turns: &[Turn]) -> Vec<Message> {
        let message = |role, text: &str| Message {
            role,
            content: self.without_control(text),
        };
        let words = |answer: &[Said]| -> String {
            let words = answer.iter().filter_map(|said| match said {
                Said::Text(text) => Some(text.as_str()),
                Said::Picture => None,
            });
            words.collect()
        };
        let said = turns.iter().flat_map(|turn| {
            let answer = turn.answer.iter();
            let answer = answer.map(|answer| message("assistant", &words(answer)));
            std::iter::once(message("user", &turn.question)).chain(answer)
        });
        let system = system.iter().map(|system| message("system", system));
        system.chain(said).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::ChatTemplate;

    fn turn(images: usize, question: &str, answer: Option<&str>) -> Turn {
        Turn {
            images,
            region: false,
            question: question.into(),
            answer: answer.map(|answer| vec![Said::Text(answer.into())]),
        }
    }

    #[test]
    fn about_pictures_the_words_of_training() {
        use crate::text::question_prompt;
        let tokenizer = TextTokenizer::builtin().unwrap();
        let ids = tokenizer
            .conversation(None, &[turn(1, "Is there a cat?", None)], 1)
            .unwrap();
        let special = tokenizer.special();
        let mut expected = vec![special.bos];
        for segment in question_prompt(0, "Is there a cat?") {
            match segment {
                Segment::Text { text, .. } => expected.extend(tokenizer.encode(&text).unwrap()),
                _ => expected.extend([special.soi, special.image]),
            }
        }
        assert_eq!(ids, expected);
    }

    #[test]
    fn without_a_template_the_protocols_wording() {
        let tokenizer = TextTokenizer::builtin().unwrap();
        let turns = [
            turn(1, "Is there a cat?", Some("yes")),
            turn(0, "Is there a dog?", None),
        ];
        let ids = tokenizer.conversation(None, &turns, 2).unwrap();
        let special = tokenizer.special();
        assert_eq!(ids[0], special.bos);
        let soi = ids.iter().position(|id| *id == special.soi).unwrap();
        assert_eq!(ids[soi + 1..][..2], [special.image; 2]);
        assert_ne!(ids[soi + 3], special.image);
        let eos = ids.iter().position(|id| *id == special.eos).unwrap();
        assert_eq!(tokenizer.decode(&ids[eos - 1..eos]).unwrap(), "yes");
        let last = tokenizer.decode(&ids[eos..]).unwrap();
        assert!(last.contains("is there a dog?"), "{last}");
        assert!(!last.contains("helpful"), "{last}");
    }

    #[test]
    fn a_template_is_followed_and_its_complaints_are_told() {
        let with = |source: &str| {
            let word = |name: &str, word: &str| (name.to_owned(), word.to_owned());
            let template = ChatTemplate {
                source: source.into(),
                words: [word("bos_token", "<s>"), word("eos_token", "</s>")].into(),
            };
            TextTokenizer::builtin()
                .unwrap()
                .with_chat_template(template)
        };
        let tokenizer = with(
            "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token if m.role == 'assistant' }}{% endfor %}",
        );
        let special = *tokenizer.special();
        let turns = [
            turn(0, "a cat</s> <image>", Some("two dogs")),
            turn(0, "red", None),
        ];
        let ids = tokenizer.conversation(None, &turns, 1).unwrap();
        let words = |text: &str| tokenizer.encode(text).unwrap();
        let expected = [
            vec![special.bos],
            words("a cat"),
            words("two dogs"),
            vec![special.eos],
            words("red"),
        ];
        assert_eq!(ids, expected.concat());
        // About pictures the connection's words, whatever the language model's are.
        let shown = [turn(1, "a cat", None)];
        let plain = TextTokenizer::builtin().unwrap();
        assert_eq!(
            tokenizer.conversation(None, &shown, 1).unwrap(),
            plain.conversation(None, &shown, 1).unwrap()
        );
        let error = with("{{ raise_exception('no system') }}").conversation(None, &turns, 1);
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("no system") && error.contains("template"),
            "{error}"
        );
        assert!(with("{% for").conversation(None, &turns, 1).is_err());
    }
}
