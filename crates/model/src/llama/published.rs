//! `config.json` of transformers' LLaMA-like classes, as transformers 5 reads it.

mod layers;

use serde_json::{Value, json};

use super::{Family, LlamaConfig};
use crate::published::{Fields, Published, only, read, unless};

/// Fields of other classes that change what is computed; in a file that names no class they decide that it is
/// not this one.
const OTHERS: [&str; 26] = [
    "attention_multiplier",
    "attention_out_bias",
    "attn_logit_softcapping",
    "clip_qkv",
    "embedding_multiplier",
    "final_logit_softcapping",
    "kv_lora_rank",
    "layer_types",
    "layernorm_epsilon",
    "logit_scale",
    "logits_scaling",
    "n_routed_experts",
    "no_rope_layer_interval",
    "no_rope_layers",
    "norm_epsilon",
    "num_experts",
    "num_local_experts",
    "parallel_attn",
    "query_pre_attn_scalar",
    "residual_multiplier",
    "rope_interleaved",
    "sliding_window",
    "text_config",
    "use_bidirectional_attention",
    "use_parallel_residual",
    "use_qk_norm",
];

/// What `rope_parameters` may say; `finetuned` and `mrope_section` are read by nobody in these classes.
const ROPE: [&str; 18] = [
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "factor",
    "finetuned",
    "high_freq_factor",
    "long_factor",
    "low_freq_factor",
    "mrope_section",
    "mscale",
    "mscale_all_dim",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "rope_theta",
    "rope_type",
    "short_factor",
    "truncate",
    "type",
];

/// More layers than any model has: a damaged file.
const MOST_LAYERS: usize = 10_000;

impl Published for LlamaConfig {
    fn published(mut fields: Fields) -> Result<Self, Vec<String>> {
        let family = family(&fields).map_err(|problem| vec![problem])?;
        let mut problems = only(&fields, &[("partial_rotary_factor", json!(1))]);
        if let Some(how) = fields.get("quantization_config").filter(|q| !q.is_null()) {
            problems.push(quantised(how));
        }
        if family == Family::Gemma {
            problems.extend(only(
                &fields,
                &[("use_bidirectional_attention", json!(false))],
            ));
            if fields.get("hidden_act") == Some(&json!("gelu")) {
                fields["hidden_act"] = json!("gelu_pytorch_tanh");
            }
        }
        for (field, value) in defaults(family).as_object().into_iter().flatten() {
            fields.entry(field.clone()).or_insert(value.clone());
        }
        for field in ignored(family) {
            fields.remove(*field);
        }
        problems.extend(rotation(&mut fields));
        fields.insert("model_type".into(), json!(family));
        let count = fields.get("num_hidden_layers").and_then(Value::as_u64);
        let count = count.map_or(LlamaConfig::default().num_hidden_layers, |n| n as usize);
        if count > MOST_LAYERS {
            problems.push(format!(
                "num_hidden_layers: expected at most {MOST_LAYERS}, found {count}"
            ));
            return Err(problems);
        }
        let windows = layers::windows(family, &mut fields, count);
        let positions = layers::positions(family, &mut fields, count);
        problems.extend(windows.err());
        problems.extend(positions.err());
        unless(problems, read(fields))
    }
}

/// The class that a file names.
fn family(fields: &Fields) -> Result<Family, String> {
    let known = || {
        let names = Family::ALL.map(|(_, name, _)| name);
        names.join(", ")
    };
    let given = |field: &str| fields.get(field).filter(|value| !value.is_null());
    let kind = given("model_type");
    let named = Family::ALL
        .iter()
        .find(|(_, name, _)| kind == Some(&json!(name)));
    if let (Some(kind), None) = (kind, named) {
        return Err(format!(
            "model_type: {kind} computes something else; expected one of {}",
            known()
        ));
    }
    let architectures = given("architectures").and_then(Value::as_array);
    let architecture = architectures.and_then(|names| names.first());
    let by_name = architecture.map(|name| {
        let name = name.as_str().unwrap_or_default();
        let is = |class: &str| {
            ["ForCausalLM", "Model"]
                .iter()
                .any(|end| *name == format!("{class}{end}"))
        };
        let found = Family::ALL.iter().find(|(_, _, class)| is(class));
        found.or_else(|| (name == "LLaMAForCausalLM").then_some(&Family::ALL[0]))
    });
    match (named, by_name) {
        (Some((family, _, _)), Some(Some((other, _, _)))) if family == other => Ok(*family),
        (Some((family, _, _)), None) | (None, Some(Some((family, _, _)))) => Ok(*family),
        (_, Some(_)) => Err(format!(
            "architectures: {} computes something else; expected {}",
            architecture.unwrap_or(&Value::Null),
            named.map_or_else(
                || format!("the language model of one of {}", known()),
                |(_, _, class)| format!("{class}ForCausalLM")
            )
        )),
        (None, None) => {
            let says = |field: &&&str| {
                let value = given(field);
                value.is_some_and(|value| *value != json!(false) && *value != json!([]))
            };
            match OTHERS.iter().find(says) {
                Some(field) => Err(format!(
                    "{field}: not a field of LLaMA, and the file does not name its class; add its model_type ({})",
                    known()
                )),
                None => Ok(Family::Llama),
            }
        }
    }
}

/// Where transformers' defaults differ from LLaMA's.
fn defaults(family: Family) -> Value {
    match family {
        Family::Llama => json!({}),
        Family::Granite => json!({ "attention_multiplier": 1.0 }),
        Family::Mistral => json!({
            "intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131_072,
            "sliding_window": 4096,
        }),
        Family::Qwen2 | Family::Qwen3 => {
            let mut fields = json!({
                "vocab_size": 151_936, "intermediate_size": 22_016, "num_key_value_heads": 32,
                "max_position_embeddings": 32_768, "sliding_window": 4096, "max_window_layers": 28,
            });
            if family == Family::Qwen3 {
                fields["head_dim"] = json!(128);
            }
            fields
        }
        Family::SmolLm3 => json!({
            "vocab_size": 128_256, "hidden_size": 2048, "num_hidden_layers": 36, "num_attention_heads": 16,
            "num_key_value_heads": 4, "max_position_embeddings": 32_768, "rope_theta": 2_000_000.0,
            "no_rope_layer_interval": 4, "tie_word_embeddings": true,
        }),
        Family::Gemma => json!({
            "vocab_size": 256_000, "hidden_size": 3072, "intermediate_size": 24_576, "num_hidden_layers": 28,
            "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 256,
            "hidden_act": "gelu_pytorch_tanh", "max_position_embeddings": 8192, "tie_word_embeddings": true,
        }),
    }
}

/// Fields of the other classes, which a class does not look at.
fn ignored(family: Family) -> &'static [&'static str] {
    const FACTORS: [&str; 4] = [
        "embedding_multiplier",
        "attention_multiplier",
        "residual_multiplier",
        "logits_scaling",
    ];
    const LLAMA: [&str; 6] = [
        FACTORS[0],
        FACTORS[1],
        FACTORS[2],
        FACTORS[3],
        "no_rope_layers",
        "sliding_window",
    ];
    const QWEN2: [&str; 7] = [
        FACTORS[0],
        FACTORS[1],
        FACTORS[2],
        FACTORS[3],
        "no_rope_layers",
        "mlp_bias",
        "attention_bias",
    ];
    const GEMMA: [&str; 7] = [
        FACTORS[0],
        FACTORS[1],
        FACTORS[2],
        FACTORS[3],
        "no_rope_layers",
        "mlp_bias",
        "sliding_window",
    ];
    match family {
        Family::Llama => &LLAMA,
        Family::Granite => &["no_rope_layers", "sliding_window"],
        Family::Gemma => &GEMMA,
        Family::Mistral | Family::Qwen2 => &QWEN2,
        Family::Qwen3 => &QWEN2[..6],
        Family::SmolLm3 => &FACTORS,
    }
}

/// Complaints about rotary parameters; the length of the pre-training may stand beside them, and then wins.
fn rotation(fields: &mut Fields) -> Vec<String> {
    let beside = fields.remove("original_max_position_embeddings");
    let mut problems = Vec::new();
    // An empty object says as little as none.
    for field in ["rope_scaling", "rope_parameters"] {
        if fields
            .get(field)
            .and_then(Value::as_object)
            .is_some_and(Fields::is_empty)
        {
            fields.remove(field);
        }
    }
    for field in ["rope_scaling", "rope_parameters"] {
        let Some(Value::Object(rope)) = fields.get_mut(field) else {
            continue;
        };
        let unknown = rope.keys().find(|key| !ROPE.contains(&key.as_str()));
        problems.extend(unknown.map(|key| format!("{field}: {key} is not supported")));
        let kind = rope.get("rope_type").or_else(|| rope.get("type"));
        let kind = kind.and_then(Value::as_str).unwrap_or_default();
        if let Some(length) = &beside
            && ["llama3", "yarn", "longrope"].contains(&kind)
        {
            rope.insert("original_max_position_embeddings".into(), length.clone());
        }
    }
    problems
}

/// A complaint about packed weights, by the name of what packed them.
fn quantised(how: &Value) -> String {
    let method = how["quant_method"].as_str();
    let method = method.unwrap_or(match &how["load_in_4bit"] {
        Value::Null => "an unknown method",
        _ => "bitsandbytes",
    });
    format!(
        "quantization_config: the weights are quantised ({method}), which is not read; take the original model, \
         or its GGUF file"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llama::LayerType;

    fn published(value: Value) -> Result<LlamaConfig, String> {
        let Value::Object(fields) = value else {
            panic!("{value}")
        };
        LlamaConfig::published(fields).map_err(|problems| problems.join("; "))
    }

    #[track_caller]
    fn refused(value: Value, told: &str) {
        let problem = published(value.clone()).expect_err("refused");
        assert!(problem.contains(told), "{value}: {problem}");
    }

    #[test]
    fn classes_are_not_taken_for_each_other() {
        refused(json!({"model_type": "cohere"}), "model_type");
        refused(json!({"model_type": "gemma2"}), "model_type");
        refused(
            json!({"model_type": "llama", "architectures": ["GraniteForCausalLM"]}),
            "architectures",
        );
        refused(
            json!({"architectures": ["LlavaForConditionalGeneration"]}),
            "architectures",
        );
        refused(json!({"sliding_window": 8}), "sliding_window");
        refused(json!({"logits_scaling": 8.0}), "logits_scaling");
        for (family, name, class) in Family::ALL {
            let found = published(json!({"model_type": name})).unwrap();
            assert_eq!(found.model_type, family);
            let found =
                published(json!({"architectures": [format!("{class}ForCausalLM")]})).unwrap();
            assert_eq!(found.model_type, family);
            assert_eq!(found.validate(), Ok(()));
        }
        assert!(published(json!({"sliding_window": null, "use_qk_norm": false})).is_ok());
    }

    #[test]
    fn windows_are_the_classs_own() {
        let window = |value: Value| published(value).map(|c| (c.sliding_window, c.layer_types));
        let mistral = |window: Value| json!({"model_type": "mistral", "sliding_window": window});
        assert_eq!(
            window(json!({"model_type": "mistral"})),
            Ok((Some(4096), None))
        );
        assert_eq!(window(mistral(Value::Null)), Ok((None, None)));
        refused(mistral(json!(0)), "sliding_window");
        let llama = json!({"model_type": "llama", "sliding_window": 4});
        assert_eq!(window(llama), Ok((None, None)), "LLaMA does not look at it");
        let qwen = |enabled: bool, from: u64| {
            json!({"model_type": "qwen2", "num_hidden_layers": 2, "sliding_window": 8,
                   "use_sliding_window": enabled, "max_window_layers": from})
        };
        assert_eq!(window(qwen(false, 0)), Ok((None, None)));
        assert_eq!(window(qwen(true, 0)), Ok((Some(8), None)));
        let mixed = vec![LayerType::FullAttention, LayerType::SlidingAttention];
        assert_eq!(window(qwen(true, 1)), Ok((Some(8), Some(mixed))));
        refused(
            json!({"model_type": "qwen2", "num_hidden_layers": 1, "layer_types": ["sliding_attention"]}),
            "sliding_window",
        );
        refused(
            json!({"model_type": "qwen3", "layer_types": ["chunked_attention"]}),
            "layer_types",
        );
    }

    #[test]
    fn layers_without_positions() {
        let smol = |more: Value| {
            let mut value = json!({"model_type": "smollm3", "num_hidden_layers": 4});
            for (field, more) in more.as_object().unwrap() {
                value[field] = more.clone();
            }
            published(value).map(|config| config.no_rope_layers)
        };
        assert_eq!(smol(json!({})), Ok(Some(vec![1, 1, 1, 0])));
        assert_eq!(smol(json!({"no_rope_layers": [1, 1, 1, 1]})), Ok(None));
        assert!(smol(json!({"no_rope_layers": [1]})).is_err());
        assert!(smol(json!({"no_rope_layer_interval": 0})).is_err());
    }

    #[test]
    fn what_is_packed_or_turned_otherwise_is_named() {
        refused(
            json!({"quantization_config": {"quant_method": "gptq"}}),
            "gptq",
        );
        refused(
            json!({"quantization_config": {"load_in_4bit": true}}),
            "bitsandbytes",
        );
        refused(
            json!({"partial_rotary_factor": 0.5}),
            "partial_rotary_factor",
        );
        refused(
            json!({"rope_parameters": {"full_attention": {}}}),
            "full_attention",
        );
        refused(json!({"rope_scaling": {"type": "mrope"}}), "mrope");
        let beside = json!({"original_max_position_embeddings": 7, "max_position_embeddings": 14,
                            "rope_scaling": {"type": "yarn", "factor": 2.0}});
        let rope = published(beside).unwrap().rope();
        assert_eq!(rope.original_max_position_embeddings, Some(7));
    }
}
