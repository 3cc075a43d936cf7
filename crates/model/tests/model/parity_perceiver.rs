//! Perceiver resampler against transformers' Q-Former (tools/parity/export_perceiver.py).

use deem_model::perceiver::Perceiver;

use crate::support::{Golden, flat};

fn perceiver(name: &str) {
    let mut golden = Golden::open(name);
    let config = serde_json::from_value(golden.config()).unwrap();
    let resampler = golden.load(Perceiver::new(&config, golden.device()));
    let real = golden
        .has("encoder_attention_mask")
        .then(|| golden.integers("encoder_attention_mask").bool());
    let queries = golden.input("query_embeds");
    let sequence = golden.input("encoder_hidden_states");
    let output = resampler.forward(queries, sequence, real);
    golden.check(&resampler, &[("last_hidden_state", flat(&output))]);
}

#[test]
fn as_in_transformers_with_padding() {
    perceiver("perceiver");
}

#[test]
fn with_qk_norm_and_shared_queries() {
    perceiver("perceiver_qk_norm");
}
