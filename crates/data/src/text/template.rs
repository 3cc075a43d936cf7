//! Chat templates as transformers renders them: Jinja with Python's methods, and the functions and tags that
//! transformers adds.

mod python;

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};

/// Instructions that a template may take: it comes from a file that anybody may have written.
const MAX_STEPS: u64 = 10_000_000;

/// How a language model's own conversations are written (a Jinja template, as published models have it).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatTemplate {
    /// The template.
    pub source: String,
    /// What it is to write for special tokens, by their names in it (`bos_token`, `eos_token`, …); none for
    /// those that are not here.
    pub words: BTreeMap<String, String>,
}

/// What somebody says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// `system`, `user` or `assistant`.
    pub(super) role: &'static str,
    /// The text.
    pub(super) content: String,
}

impl ChatTemplate {
    /// The text of a conversation, up to where the model is to answer.
    ///
    /// Contents are texts, as transformers passes them on. If nothing of the last text appears, the template
    /// wants lists of parts, as those of models that see pictures do.
    ///
    /// # Errors
    /// What the template or its renderer complains of.
    pub(super) fn render(&self, messages: &[Message]) -> Result<String, String> {
        let texts = self.rendered(messages, |text| Value::from(text));
        let last = messages.last().map_or("", |last| last.content.trim());
        if texts.as_ref().is_ok_and(|text| text.contains(last)) {
            return texts;
        }
        let parts = self.rendered(messages, |text| {
            Value::from(vec![context! { type => "text", text => text }])
        });
        match parts {
            Ok(text) if text.contains(last) => Ok(text),
            _ => texts,
        }
    }

    fn rendered(
        &self,
        messages: &[Message],
        content: impl Fn(&str) -> Value,
    ) -> Result<String, String> {
        let messages = messages.iter();
        let messages: Vec<Value> = messages
            .map(|message| context! { role => message.role, content => content(&message.content) })
            .collect();
        let words = self.words.iter();
        let words = words.map(|(name, word)| (name.as_str(), Value::from(word.as_str())));
        let given = [
            ("messages", Value::from(messages)),
            ("add_generation_prompt", Value::from(true)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
        ];
        let variables = Value::from_pairs(words.chain(given));
        let source = without_generation_tags(&self.source);
        let environment = environment().map_err(|error| error.to_string())?;
        let text = environment.render_str(&source, variables);
        text.map_err(|error| format!("{error:#}"))
    }
}

/// Jinja as transformers sets it up.
fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(MAX_STEPS));
    let mut syntax = SyntaxConfig::builder();
    environment.set_syntax(syntax.trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_unknown_method_callback(python::method);
    environment.add_filter("tojson", python::to_json);
    environment.add_function("cycler", minijinja_contrib::globals::cycler);
    environment.add_function("joiner", minijinja_contrib::globals::joiner);
    environment.add_function("raise_exception", |told: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, told))
    });
    environment.add_function("strftime_now", python::now);
    Ok(environment)
}

/// The tags with which templates mark what assistants say, for training: here they say nothing, and become
/// conditions that hold.
fn without_generation_tags(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        text.push_str(before);
        let end = tag.find("%}").map_or(tag.len(), |end| end + 2);
        let (tag, after) = tag.split_at(end);
        let word = tag.trim_matches(|c: char| "{%-+}".contains(c) || c.is_whitespace());
        match word {
            "generation" => text.push_str(&tag.replacen(word, "if true", 1)),
            "endgeneration" => text.push_str(&tag.replacen(word, "endif", 1)),
            _ => text.push_str(tag),
        }
        rest = after;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(source: &str) -> Result<String, String> {
        let template = ChatTemplate {
            source: source.into(),
            words: BTreeMap::from([("bos_token".into(), "<s>".into())]),
        };
        let message = |role, content: &str| Message {
            role,
            content: content.into(),
        };
        template.render(&[
            message("user", "a cat"),
            message("assistant", "no"),
            message("user", "two dogs"),
        ])
    }

    #[track_caller]
    fn check(source: &str, expected: &str) {
        assert_eq!(said(source).as_deref(), Ok(expected), "{source}");
    }

    #[test]
    fn what_transformers_adds_to_jinja() {
        check(
            "{% for m in messages %}{%- generation %} {{ m.content }}{% endgeneration -%}\n {% endfor %}",
            " a cat no two dogs",
        );
        check(
            "{% for m in messages %}{% if loop.index0 == 1 %}{% continue %}{% endif %}[{{ m.content }}]{% endfor %}",
            "[a cat][two dogs]",
        );
        check(
            "{{ tools is none }} {{ documents }} two dogs",
            "True None two dogs",
        );
        let year = said("{{ strftime_now('%Y') }} two dogs").unwrap();
        assert!(year.starts_with("20"), "{year}");
        assert!(said("{{ strftime_now('%Q') }}").is_err());
        assert!(
            said("{{ raise_exception('no') }}")
                .unwrap_err()
                .contains("no")
        );
        assert!(said("{% for").is_err());
        check("{{ unk_token }}{{ bos_token }}two dogs", "<s>two dogs");
    }

    /// The idioms of published templates, as transformers renders them (tools/parity/export_templates.py).
    #[test]
    fn published_idioms_as_transformers_renders_them() {
        let golden = include_str!("../../tests/golden/chat_templates.json");
        let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let words = golden["words"].as_object().unwrap();
        let words: BTreeMap<String, String> = words
            .iter()
            .map(|(name, word)| (name.clone(), text(word)))
            .collect();
        let mut problems = Vec::new();
        for case in golden["cases"].as_array().unwrap() {
            let template = ChatTemplate {
                source: text(&case["template"]),
                words: words.clone(),
            };
            let messages = case["messages"].as_array().unwrap().iter();
            let messages: Vec<Message> = messages
                .map(|message| Message {
                    role: if message["role"] == "user" {
                        "user"
                    } else {
                        "assistant"
                    },
                    content: text(&message["content"]),
                })
                .collect();
            let found = template.render(&messages);
            if found.as_ref().ok() != Some(&text(&case["rendered"])) {
                problems.push(format!(
                    "{}: expected {}, found {found:?}",
                    case["name"], case["rendered"]
                ));
            }
        }
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    #[test]
    fn contents_are_parts_where_a_template_wants_parts() {
        check(
            "{% for m in messages %}{% for part in m['content'] if part['type'] == 'text' %}<{{ part['text'] }}>\
             {% endfor %}{% endfor %}",
            "<a cat><no><two dogs>",
        );
        check(
            "{% for m in messages %}{{ m.content[0].text }};{% endfor %}",
            "a cat;no;two dogs;",
        );
        // A template may shorten what it is told; that is its affair.
        check("{{ messages[2].content.split(' ')[0] }}", "two");
    }
}
