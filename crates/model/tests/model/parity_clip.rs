//! CLIP towers and pyramids against transformers, timm and an independent ViT adapter
//! (tools/parity/export_clip.py).

use burn::module::Module;
use deem_model::clip::config::{
    ClipTextConfig, ClipVisionConfig, SiglipTextConfig, SiglipVisionConfig,
};
use deem_model::clip::convnext::ConvNext;
use deem_model::clip::pyramid::{Pyramid, VisionTower};
use deem_model::clip::text::ClipText;
use deem_model::clip::vit::ClipVit;
use deem_model::mask_extractor::extract;
use deem_model::published::Published;

use crate::support::{Golden, flat};

fn convnext(name: &str) {
    for recompute in [false, true] {
        convnext_checkpointed(name, recompute);
    }
}

fn convnext_checkpointed(name: &str, recompute: bool) {
    let mut golden = Golden::open(name);
    let config = serde_json::from_value(golden.config()).unwrap();
    let tower = ConvNext::new(&config, golden.device()).with_checkpointing(recompute);
    let tower = golden.load(tower);
    let output = tower.forward(golden.input("pixel_values"));
    let [s1, s2, s3, s4] = output.stages.map(|stage| flat(&stage));
    let outputs = [
        ("stage_1", s1),
        ("stage_2", s2),
        ("stage_3", s3),
        ("stage_4", s4),
        ("pooled", flat(&output.pooled)),
    ];
    golden.check(&tower, &outputs);
}

#[test]
fn convnext_with_the_usual_stem() {
    convnext("convnext_patch4");
}

#[test]
fn convnext_with_a_fine_stem_and_no_layer_scale() {
    convnext("convnext_patch2");
}

#[test]
fn convnext_with_dilation() {
    convnext("convnext_patch8");
    convnext("convnext_patch16");
}

fn clip_vit(name: &str) {
    for recompute in [false, true] {
        clip_vit_checkpointed(name, recompute);
    }
}

fn clip_vit_checkpointed(name: &str, recompute: bool) {
    let mut golden = Golden::open(name);
    let config: ClipVisionConfig = serde_json::from_value(golden.config()).unwrap();
    let tower = ClipVit::new(&config, golden.device());
    let tower = tower.with_projection(&config, golden.device());
    let tower = golden.load(tower.with_checkpointing(recompute));
    let output = tower.forward(golden.input("pixel_values"), &[1]);
    let outputs = [
        ("last_hidden_state", flat(&output.last_hidden_state)),
        ("pooler_output", flat(&output.pooler_output)),
        ("hidden_state_1", flat(&output.hidden_states[0])),
        ("image_embeds", flat(&output.image_embeds.unwrap())),
    ];
    golden.check(&tower, &outputs);
}

#[test]
fn vit_at_its_own_size() {
    clip_vit("clip_vit");
}

#[test]
fn vit_at_another_size_and_shape() {
    clip_vit("clip_vit_resized");
}

fn clip_text(name: &str) {
    let golden = Golden::open(name);
    let config: ClipTextConfig = serde_json::from_value(golden.config()).unwrap();
    let tower = ClipText::new(&config, golden.device());
    let tower = tower.with_projection(&config, golden.device());
    let tower = golden.load(tower);
    let real = golden
        .has("attention_mask")
        .then(|| golden.integers("attention_mask").bool());
    let output = tower.forward(golden.integers("input_ids"), real);
    let outputs = [
        ("last_hidden_state", flat(&output.last_hidden_state)),
        ("pooler_output", flat(&output.pooler_output)),
        ("text_embeds", flat(&output.text_embeds.unwrap())),
    ];
    golden.check(&tower, &outputs);
}

#[test]
fn text_with_the_old_end_convention() {
    clip_text("clip_text");
}

#[test]
fn text_with_padding() {
    clip_text("clip_text_masked");
}

fn published<T: Published>(golden: &Golden) -> T {
    let fields = golden.config().as_object().cloned().unwrap();
    T::published(fields).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn siglip_vit(name: &str) {
    for recompute in [false, true] {
        let mut golden = Golden::open(name);
        let SiglipVisionConfig(config) = published(&golden);
        let tower = ClipVit::new(&config, golden.device()).with_checkpointing(recompute);
        let tower = golden.load(tower);
        let output = tower.forward(golden.input("pixel_values"), &[]);
        let outputs = [
            ("last_hidden_state", flat(&output.last_hidden_state)),
            ("pooler_output", flat(&output.pooler_output)),
        ];
        golden.check(&tower, &outputs);
    }
}

#[test]
fn siglip_at_its_own_size() {
    siglip_vit("siglip_vit");
}

#[test]
fn siglip_at_another_size_and_shape() {
    siglip_vit("siglip_vit_resized");
}

#[test]
fn siglip_reads_both_ways() {
    let golden = Golden::open("siglip_text");
    let SiglipTextConfig(config) = published(&golden);
    let tower = ClipText::new(&config, golden.device());
    let tower = golden.load(tower.with_projection(&config, golden.device()));
    let output = tower.forward(golden.integers("input_ids"), None);
    let outputs = [
        ("last_hidden_state", flat(&output.last_hidden_state)),
        ("pooler_output", flat(&output.text_embeds.unwrap())),
    ];
    golden.check(&tower, &outputs);
}

fn pyramid(name: &str, projects: bool) {
    let mut golden = Golden::open(name);
    let config = serde_json::from_value(golden.config()).unwrap();
    let tower = golden.load(VisionTower::new(&config, golden.device()));
    let pixels = golden.input("pixels");
    let Pyramid { levels, sequence } = tower.forward(pixels.clone());
    let names = ["level_1", "level_2", "level_3", "level_4"];
    let levels = levels.into_array().each_ref().map(flat);
    let mut outputs: Vec<_> = names.into_iter().zip(levels).collect();
    outputs.push(("sequence", flat(&sequence)));
    let embeds = tower.image_embeds(pixels);
    assert_eq!(embeds.is_some(), projects);
    outputs.extend(embeds.map(|embeds| ("image_embeds", flat(&embeds))));
    golden.check(&tower, &outputs);
}

#[test]
fn convnext_pyramid() {
    pyramid("convnext_pyramid", true);
}

#[test]
fn vit_pyramid() {
    pyramid("vit_pyramid", false);
}

#[derive(Module, Debug)]
struct NoWeights;

#[test]
fn mask_extractor() {
    let mut golden = Golden::open("mask_extractor");
    let mask = golden.input("mask").detach();
    let output = extract(golden.input("features"), Some(&mask));
    golden.check(&NoWeights, &[("output", flat(&output))]);
}
