//! Conversations: whose turn it is, in the way that the language model was taught.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};

use super::dialogue_prompt;
use super::tokenizer::TextTokenizer;
use crate::DataError;
use crate::sample::Segment;

/// Stands where a picture stands in a text.
const PICTURE: char = '\u{fffc}';

/// Instructions that a template may take: it comes from a file that anybody may have written.
const MAX_STEPS: u64 = 10_000_000;

/// What was asked, and what was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Pictures before the question.
    pub images: usize,
    /// The question.
    pub question: String,
    /// The answer; the last turn's is to be found.
    pub answer: Option<String>,
}

/// How a language model's own conversations are written (a Jinja template, as published models have it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatTemplate {
    /// The template.
    pub source: String,
    /// What it is to write for `bos_token`.
    pub bos: String,
    /// What it is to write for `eos_token`.
    pub eos: String,
}

struct Message {
    role: &'static str,
    content: String,
}

impl ChatTemplate {
    /// The text of a conversation, up to where the model is to answer.
    fn render(&self, messages: &[Message]) -> Result<String, Error> {
        let messages = messages.iter();
        let messages: Vec<Value> = messages
            .map(|message| context! { role => message.role, content => message.content.as_str() })
            .collect();
        let mut environment = Environment::new();
        environment.set_fuel(Some(MAX_STEPS));
        let mut syntax = SyntaxConfig::builder();
        environment.set_syntax(syntax.trim_blocks(true).lstrip_blocks(true).build()?);
        environment.add_function("raise_exception", |told: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, told))
        });
        environment.render_str(
            &self.source,
            context! {
                messages => Value::from(messages), add_generation_prompt => true, bos_token => self.bos.as_str(), eos_token => self.eos.as_str(),
            },
        )
    }
}

impl TextTokenizer {
    /// Ids of a conversation up to where the model is to answer: in the model's own words if it has a
    /// [`ChatTemplate`], else in DEEM's. Each picture is its mark and `placeholders` placeholders.
    ///
    /// # Errors
    /// `Tokenizer` if the template or the tokenizer fails.
    pub fn conversation(&self, turns: &[Turn], placeholders: usize) -> Result<Vec<u32>, DataError> {
        let special = self.special();
        let picture = || {
            let run = std::iter::repeat_n(special.image, placeholders);
            std::iter::once(special.soi).chain(run)
        };
        let mut ids = Vec::new();
        if let Some(template) = self.chat_template() {
            let text = template.render(&self.messages(turns));
            let text = text.map_err(|error| self.wrong(format!("its chat template: {error:#}")))?;
            for (index, piece) in text.split(PICTURE).enumerate() {
                if index > 0 {
                    ids.extend(picture());
                }
                ids.extend(self.encode_control(piece)?);
            }
            return Ok(ids);
        }
        ids.push(special.bos);
        for (index, turn) in turns.iter().enumerate() {
            let images: Vec<usize> = (0..turn.images).collect();
            for segment in dialogue_prompt(index == 0, &images, &turn.question) {
                match segment {
                    Segment::Text { text, .. } => ids.extend(self.encode(&text)?),
                    Segment::Image { .. } => ids.extend(picture()),
                    Segment::Bos | Segment::Eos { .. } => {}
                }
            }
            if let Some(answer) = &turn.answer {
                ids.extend(self.encode(&format!(" {answer}"))?);
                ids.push(special.eos);
            }
        }
        Ok(ids)
    }

    fn messages(&self, turns: &[Turn]) -> Vec<Message> {
        let mut messages = Vec::new();
        for turn in turns {
            let pictures = PICTURE.to_string().repeat(turn.images);
            let question = self.without_control(&turn.question).replace(PICTURE, "");
            messages.push(Message {
                role: "user",
                content: pictures + &question,
            });
            if let Some(answer) = &turn.answer {
                let content = self.without_control(answer).replace(PICTURE, "");
                messages.push(Message {
                    role: "assistant",
                    content,
                });
            }
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(images: usize, question: &str, answer: Option<&str>) -> Turn {
        Turn {
            images,
            question: question.into(),
            answer: answer.map(str::to_owned),
        }
    }

    #[test]
    fn without_a_template_the_protocols_wording() {
        let tokenizer = TextTokenizer::builtin().unwrap();
        let turns = [
            turn(1, "Is there a cat?", Some("yes")),
            turn(0, "Is there a dog?", None),
        ];
        let ids = tokenizer.conversation(&turns, 2).unwrap();
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
            let template = ChatTemplate {
                source: source.into(),
                bos: "<s>".into(),
                eos: "</s>".into(),
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
            turn(1, "a cat</s> <image>", Some("two dogs")),
            turn(0, "red", None),
        ];
        let ids = tokenizer.conversation(&turns, 1).unwrap();
        let words = |text: &str| tokenizer.encode(text).unwrap();
        let expected = [
            vec![special.bos, special.soi, special.image],
            words("a cat"),
            words("two dogs"),
            vec![special.eos],
            words("red"),
        ];
        assert_eq!(ids, expected.concat());
        let error = with("{{ raise_exception('no system') }}").conversation(&turns, 1);
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("no system") && error.contains("template"),
            "{error}"
        );
        assert!(with("{% for").conversation(&turns, 1).is_err());
    }
}
