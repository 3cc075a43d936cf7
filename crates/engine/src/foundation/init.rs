//! Initial values of what no checkpoint provides.

use deem_model::weights::init::Fill;

/// Initial values of the parts that no checkpoint provides (spec: components).
pub fn init_rules(config: &deem_model::deem::DeemConfig) -> Vec<(String, Fill)> {
    let mut rules = Vec::new();
    if let Some(mmfs) = &config.llama_mmfs {
        rules.extend(mmfs.mmfs(config.llama.hidden_size).init_rules("llama.*"));
    }
    if let Some(synchronizer) = &config.image_decoder.synchronizer {
        for (index, (channels, reduction)) in config.unet.skips().into_iter().enumerate() {
            let path = format!("mmfs_down_blocks.{index}.*");
            rules.push((format!("{path}conv.weight"), Fill::Constant(0.0)));
            rules.extend(synchronizer.mmfs(channels, reduction).init_rules(&path));
        }
        let (channels, reduction) = config.unet.middle();
        rules.push(("mmfs_mid_block.conv.weight".into(), Fill::Constant(0.0)));
        rules.extend(
            synchronizer
                .mmfs(channels, reduction)
                .init_rules("mmfs_mid_block.*"),
        );
    }
    let fixed = [
        ("proj_t.weight", Fill::Normal(1e-3)),
        ("proj_i.weight", Fill::Normal(1e-3)),
        ("query_tokens", Fill::Normal(0.02)),
        ("null_condition", Fill::Normal(0.02)),
        ("head_new.weight", Fill::Constant(0.0)),
    ];
    rules.extend(fixed.map(|(pattern, fill)| (pattern.to_owned(), fill)));
    rules
}
