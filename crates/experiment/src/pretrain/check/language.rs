//! Does the language model understand? Questions about scenes described in words.

use burn::module::Module;
use burn::tensor::Device;
use deem_data::Dice;
use deem_data::text::text_question_prompt;
use deem_data::world::SceneFeed;
use deem_data::world::scene::{Attribute, Form, QuestionMix, Questioner};
use deem_metrics::statistics::Interval;
use deem_model::layout::Layout;

use super::{SCENES, SEED, percent};
use crate::built_in::BuiltIn;
use crate::pretrain::llm::LanguageTask;
use crate::standins::StandIns;
use deem_engine::EngineError;

/// Questions of each attribute and form.
const QUESTIONS: usize = 96;

/// Accuracy in percent for each attribute and form.
pub(super) fn language(
    standins: &StandIns,
    data: &BuiltIn,
    feed: &SceneFeed,
    device: &Device,
) -> Result<Vec<(Attribute, Form, Interval)>, EngineError> {
    let model = standins.llm(device)?.no_grad();
    let captioner = data.world.captioner();
    let questioner = Questioner::new(captioner.clone(), QuestionMix::default());
    let tokens = standins.preset().model.tokens;
    let mut results = Vec::new();
    let forms = |attribute| match attribute {
        Attribute::Presence | Attribute::MainObject => &[Form::YesNo][..],
        _ => &[Form::Open, Form::YesNo, Form::TwoOption],
    };
    let asked = Attribute::ALL
        .into_iter()
        .flat_map(|attribute| forms(attribute).iter().map(move |form| (attribute, *form)));
    for (attribute, form) in asked {
        let mut right = Vec::new();
        for index in 0..SCENES * 8 {
            if right.len() == QUESTIONS {
                break;
            }
            let facts = feed.facts(index)?;
            // Where there is only one value, it can be found without knowing whose it is.
            if facts.tells_apart(attribute) == Some(false) {
                continue;
            }
            let mut dice = Dice::new(SEED, "language", index);
            let pool = feed.sampler().pool();
            let question = questioner.ask_about(attribute, form, &facts, pool, &mut dice);
            let Some(question) = question else {
                continue;
            };
            let description = captioner.full(&facts, &mut dice);
            let prompt = text_question_prompt(&description, &question.prompt());
            let prompt = data.tokenizer.encode(&prompt)?;
            let answer = data.tokenizer.encode(&question.answer)?;
            let mut ids = vec![tokens.bos];
            ids.extend(prompt.iter().chain(&answer).map(|t| i64::from(*t)));
            // Right if every token of the answer is the most probable one.
            let layout = Layout::new(&ids, 1, tokens, 1);
            let hidden = LanguageTask::hidden(&model, &layout, device);
            let [_, seq, width] = hidden.dims();
            let logits = model.lm_head(hidden.reshape([seq, width]));
            let best: Vec<i64> = logits.argmax(1).into_data().iter::<i64>().collect();
            let from = seq - answer.len();
            right.push((from..seq).all(|i| best[i - 1] == ids[i]));
        }
        if !right.is_empty() {
            results.push((attribute, form, percent(&right)));
        }
    }
    Ok(results)
}
