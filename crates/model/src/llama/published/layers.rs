//! In what the layers of one model differ: windows and rotary positions.

use serde_json::{Value, json};

use crate::llama::{Family, LayerType};
use crate::published::Fields;

/// Which layers look through windows, in fields that say only that.
pub(super) fn windows(family: Family, fields: &mut Fields, layers: usize) -> Result<(), String> {
    use LayerType::{FullAttention, SlidingAttention};
    let enabled = fields.remove("use_sliding_window");
    let enabled = enabled.is_some_and(|enabled| enabled == json!(true));
    let from = fields.remove("max_window_layers");
    let from = from.and_then(|from| from.as_u64()).unwrap_or(0) as usize;
    let window = match fields.remove("sliding_window") {
        None | Some(Value::Null) => None,
        Some(window) => match window.as_u64() {
            Some(window) if window > 0 => Some(window),
            _ => {
                return Err(format!(
                    "sliding_window: expected at least 1 or null, found {window}"
                ));
            }
        },
    };
    let window = match family {
        Family::Qwen2 | Family::Qwen3 => window.filter(|_| enabled),
        _ => window,
    };
    let stated = fields
        .remove("layer_types")
        .filter(|types| !types.is_null());
    let stated: Option<Vec<LayerType>> = stated
        .map(serde_json::from_value)
        .transpose()
        .map_err(|error| format!("layer_types: {error}"))?;
    if let Some(found) = stated
        .as_ref()
        .map(Vec::len)
        .filter(|found| *found != layers)
    {
        return Err(format!(
            "layer_types: expected an entry for each of num_hidden_layers ({layers}), found {found}"
        ));
    }
    let types: Vec<LayerType> = match (family, stated) {
        (Family::Llama | Family::Granite | Family::Gemma, _) => return Ok(()),
        (Family::Mistral, stated) => {
            let all = vec![window.map_or(FullAttention, |_| SlidingAttention); layers];
            if stated.is_some_and(|stated| stated != all) {
                return Err(
                    "layer_types: Mistral has one kind of layers, as sliding_window says".into(),
                );
            }
            all
        }
        (_, Some(stated)) => stated,
        (Family::Qwen2 | Family::Qwen3, None) => {
            let kind = |layer| match window {
                Some(_) if layer >= from => SlidingAttention,
                _ => FullAttention,
            };
            (0..layers).map(kind).collect()
        }
        (Family::SmolLm3, None) if enabled && window.is_some() => {
            let turns = turns(fields, layers)?;
            let kind = |turns: &u8| {
                if *turns == 0 {
                    SlidingAttention
                } else {
                    FullAttention
                }
            };
            turns.iter().map(kind).collect()
        }
        _ => vec![FullAttention; layers],
    };
    if !types.contains(&SlidingAttention) {
        return Ok(());
    }
    let Some(window) = window else {
        return Err(
            "layer_types: has sliding_attention, but there is no sliding_window (or use_sliding_window is false)"
                .into(),
        );
    };
    fields.insert("sliding_window".into(), json!(window));
    if types.contains(&FullAttention) {
        fields.insert("layer_types".into(), json!(types));
    }
    Ok(())
}

/// Which layers turn queries and keys by their positions, in a field that says only that.
pub(super) fn positions(family: Family, fields: &mut Fields, layers: usize) -> Result<(), String> {
    if family == Family::SmolLm3 {
        let turns = turns(fields, layers)?;
        fields.remove("no_rope_layers");
        if turns.contains(&0) {
            fields.insert("no_rope_layers".into(), json!(turns));
        }
    }
    fields.remove("no_rope_layer_interval");
    Ok(())
}

/// 1 for each layer of a SmolLM3 that turns queries and keys, 0 for the others.
fn turns(fields: &Fields, layers: usize) -> Result<Vec<u8>, String> {
    if let Some(stated) = fields
        .get("no_rope_layers")
        .filter(|turns| !turns.is_null())
    {
        let stated: Vec<u8> = serde_json::from_value(stated.clone())
            .map_err(|error| format!("no_rope_layers: {error}"))?;
        if stated.len() < layers {
            let found = stated.len();
            return Err(format!(
                "no_rope_layers: expected {layers} entries, found {found}"
            ));
        }
        return Ok(stated[..layers]
            .iter()
            .map(|turns| u8::from(*turns != 0))
            .collect());
    }
    let interval = fields.get("no_rope_layer_interval").and_then(Value::as_u64);
    match interval {
        Some(interval) if interval > 0 => {
            let turns = |layer: usize| u8::from(!(layer as u64 + 1).is_multiple_of(interval));
            Ok((0..layers).map(turns).collect())
        }
        _ => Err("no_rope_layer_interval: expected at least 1".into()),
    }
}
