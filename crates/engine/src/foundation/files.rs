//! Which files of a published folder a part needs, so that nothing else is downloaded.

use deem_model::weights::weight_files;

/// What one part reads from its folder.
pub struct Needs {
    /// Of the names of all files, those that are read; none if the folder will not do.
    pub choose: fn(&[String]) -> Vec<String>,
    /// The same in words, for errors.
    pub expected: &'static str,
}

/// Image tower.
pub const VISION: Needs = Needs {
    choose: with_config,
    expected: "weights in safetensors (`deem convert` makes them of .bin)",
};

/// An encoder of pictures and texts.
pub const DUAL_ENCODER: Needs = Needs {
    choose: |names| {
        let weights = weight_files(names, "safetensors");
        if weights.is_empty() {
            return weights;
        }
        let beside = SMALL.map(|name| present(names, name)).concat();
        [weights, beside].concat()
    },
    expected: "weights in safetensors (`deem convert` makes them of .bin) with a config.json or an open_clip_config.json",
};

/// Language model.
pub const LLAMA: Needs = Needs {
    choose: |names| {
        let chosen = with_config(names);
        if chosen.is_empty() {
            return weight_files(names, "gguf");
        }
        [chosen, present(names, "generation_config.json")].concat()
    },
    expected: "weights in safetensors (`deem convert` makes them of .bin) with a config.json, or one .gguf file",
};

/// Tokenizer.
pub const TOKENIZER: Needs = Needs {
    choose: |names| {
        let tokenizer = present(names, "tokenizer.json");
        if tokenizer.is_empty() {
            return weight_files(names, "gguf");
        }
        [tokenizer, WORDS.map(|name| present(names, name)).concat()].concat()
    },
    expected: "tokenizer.json, or one .gguf file",
};

/// What says how a tokenizer's model converses.
const WORDS: [&str; 4] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// Diffusion model.
pub const DIFFUSION: Needs = Needs {
    choose: |names| {
        let unet = below(names, "unet");
        let vae = ["vae", "autoencoder"].map(|folder| below(names, folder));
        let vae = vae.into_iter().find(|files| !files.is_empty());
        let vae = vae.unwrap_or_default();
        if unet.is_empty() || vae.is_empty() {
            return Vec::new();
        }
        let scheduler = present(names, "scheduler/scheduler_config.json");
        [unet, vae, scheduler].concat()
    },
    expected: "folders unet, vae (with weights in safetensors) and scheduler, as diffusers writes them",
};

/// The autoencoder of a diffusion model, where its denoiser is trained from scratch.
pub const VAE: Needs = Needs {
    choose: |names| {
        let vae = ["vae", "autoencoder"].map(|folder| below(names, folder));
        let mut vae = vae.into_iter();
        vae.find(|files| !files.is_empty()).unwrap_or_default()
    },
    expected: "a folder vae (with weights in safetensors), as diffusers writes it",
};

/// Weights under deem's keys.
pub const TRAINED: Needs = Needs {
    choose: |names| weight_files(names, "safetensors"),
    expected: "weights in safetensors",
};

/// What lies beside weights and belongs to them.
pub const SMALL: [&str; 12] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "open_clip_config.json",
    "preprocessor_config.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
];

/// Weights that `deem convert` reads, with what belongs to them.
pub const PICKLED: Needs = Needs {
    choose: |names| {
        let endings = ["bin", "pt", "pth", "safetensors", "gguf"];
        let weights = endings.map(|ending| weight_files(names, ending));
        let Some(weights) = weights.into_iter().find(|weights| !weights.is_empty()) else {
            return Vec::new();
        };
        let small = SMALL.map(|name| present(names, name)).concat();
        [weights, small].concat()
    },
    expected: "weights in .bin, .pt, .pth, .safetensors or .gguf",
};

fn with_config(names: &[String]) -> Vec<String> {
    let weights = weight_files(names, "safetensors");
    if weights.is_empty() {
        return weights;
    }
    [weights, present(names, "config.json")].concat()
}

fn below(names: &[String], folder: &str) -> Vec<String> {
    let inside = names
        .iter()
        .filter_map(|name| name.strip_prefix(folder)?.strip_prefix('/'));
    let inside: Vec<String> = inside.map(str::to_owned).collect();
    let chosen = with_config(&inside);
    chosen
        .iter()
        .map(|name| format!("{folder}/{name}"))
        .collect()
}

fn present(names: &[String], name: &str) -> Vec<String> {
    names.iter().filter(|own| *own == name).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(needs: &Needs, names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        (needs.choose)(&names)
    }

    /// The files of `stabilityai/stable-diffusion-2-1-base`, shortened.
    #[test]
    fn of_a_diffusers_folder_only_what_is_used() {
        let names = [
            "model_index.json",
            "scheduler/scheduler_config.json",
            "text_encoder/model.safetensors",
            "unet/config.json",
            "unet/diffusion_pytorch_model.bin",
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "unet/diffusion_pytorch_model.safetensors",
            "v2-1_512-ema-pruned.safetensors",
            "vae/config.json",
            "vae/diffusion_pytorch_model.safetensors",
        ];
        let expected = [
            "unet/diffusion_pytorch_model.safetensors",
            "unet/config.json",
            "vae/diffusion_pytorch_model.safetensors",
            "vae/config.json",
            "scheduler/scheduler_config.json",
        ];
        assert_eq!(choose(&DIFFUSION, &names), expected);
        assert!(choose(&DIFFUSION, &names[..7]).is_empty(), "no vae");
    }

    #[test]
    fn pickles_will_not_do() {
        let names = ["config.json", "pytorch_model.bin", "tokenizer.json"];
        assert!(choose(&LLAMA, &names).is_empty());
        assert_eq!(choose(&TOKENIZER, &names), ["tokenizer.json"]);
        assert_eq!(
            choose(&PICKLED, &names).len(),
            3,
            "but for conversion they will"
        );
    }

    #[test]
    fn one_gguf_file_is_weights_and_tokenizer() {
        let names = ["LICENSE", "small.Q4_1.gguf"];
        for needs in [&LLAMA, &TOKENIZER, &PICKLED] {
            assert_eq!(choose(needs, &names), ["small.Q4_1.gguf"]);
        }
        let several = ["small.Q4_1.gguf", "small.Q8_0.gguf"];
        assert!(choose(&LLAMA, &several).is_empty(), "which one?");
        let both = ["config.json", "model.safetensors", "small.gguf"];
        assert_eq!(choose(&LLAMA, &both), ["model.safetensors", "config.json"]);
    }
}
