//! UNets, autoencoders and towers of CLIP and SigLIP against diffusers and transformers, field by field of their
//! configurations (tools/parity/export_fields.py): what is computed equals the reference, and everything else is refused
//! with the field's name.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use deem_model::autoencoder::{Autoencoder, AutoencoderConfig};
use deem_model::clip::config::{
    ClipTextConfig, ClipVisionConfig, SiglipTextConfig, SiglipVisionConfig,
};
use deem_model::clip::text::ClipText;
use deem_model::clip::vit::ClipVit;
use deem_model::published::Published;
use deem_model::unet::{UNet, UNetConfig};
use deem_model::weights::{LoadOptions, load};

use crate::support::values;
use crate::support::variations::{Fields, Variations};

/// Of the largest number.
const TOLERANCE: f32 = 1e-4;

/// Fields that change no number that is computed here: whatever they say, they are not read. Some of their values the
/// reference refuses.
const IDLE: [&str; 20] = [
    "addition_embed_type_num_heads",
    "addition_time_embed_dim",
    "attention_dropout",
    "bos_token_id",
    "chunk_size_feed_forward",
    "dropout",
    "force_upcast",
    "id2label",
    "initializer_factor",
    "initializer_range",
    "is_encoder_decoder",
    "label2id",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "problem_type",
    "projection_class_embeddings_input_dim",
    "return_dict",
    "sample_size",
    "upcast_attention",
];

struct Case<'a> {
    variations: &'a Variations,
    set: &'a str,
    device: Device,
}

impl Case<'_> {
    fn input<const D: usize>(&self, name: &str) -> Tensor<D> {
        let key = format!("input.{}.{name}", self.set);
        let golden = self.variations.golden();
        let shape: [usize; D] = golden.shape(&key).unwrap().try_into().unwrap();
        Tensor::from_data(
            TensorData::new(golden.f32(&key).unwrap(), shape),
            &self.device,
        )
    }

    fn integers<const D: usize>(&self, name: &str) -> Tensor<D, Int> {
        let key = format!("input.{}.{name}", self.set);
        let golden = self.variations.golden();
        let shape: [usize; D] = golden.shape(&key).unwrap().try_into().unwrap();
        Tensor::from_data(
            TensorData::new(golden.i64(&key).unwrap(), shape),
            &self.device,
        )
    }

    /// A module filled under published keys.
    fn filled<M: Module>(&self, module: M, key: impl Fn(&str) -> String) -> Result<M, String> {
        let options = LoadOptions {
            rename: Some(&key),
            ..LoadOptions::default()
        };
        load(module, &self.variations.weights(self.set), &options).map_err(|e| e.to_string())
    }

    fn unet(&self, fields: Fields) -> Result<Vec<f32>, String> {
        let config: UNetConfig = read(fields)?;
        config.validate().map_err(|error| error.to_string())?;
        let unet = self.filled(UNet::new(&config, &self.device), str::to_owned)?;
        let step = self.integers::<1>("timestep").into_scalar::<i64>() as usize;
        let sample = self.input("sample");
        Ok(values(unet.forward(
            sample,
            &[step],
            self.input("condition"),
            None,
        )))
    }

    fn autoencoder(&self, fields: Fields) -> Result<Vec<f32>, String> {
        let config: AutoencoderConfig = read(fields)?;
        config.validate().map_err(|error| error.to_string())?;
        let module = self.filled(Autoencoder::new(&config, &self.device), str::to_owned)?;
        let posterior = module.encode(self.input("pixels").permute([0, 3, 1, 2]));
        let shift = config.shift_factor.unwrap_or(0.0);
        let scaled = (posterior.mean.clone() - shift) * config.scaling_factor;
        let decoded = module.decode(self.input("latents")).permute([0, 2, 3, 1]);
        let parts = [posterior.mean, posterior.logvar, scaled, decoded];
        Ok(parts.map(values).concat())
    }

    fn vision(&self, config: &ClipVisionConfig, projects: bool) -> Result<Vec<f32>, String> {
        config.validate().map_err(|error| error.to_string())?;
        let mut tower = ClipVit::new(config, &self.device);
        if projects {
            tower = tower.with_projection(config, &self.device);
        }
        let tower = self.filled(tower, |path| match path.starts_with("visual_projection") {
            false if projects => format!("vision_model.{path}"),
            _ => path.to_owned(),
        })?;
        let output = tower.forward(self.input("pixels"), &[]);
        let pooled = output.image_embeds.unwrap_or(output.pooler_output);
        Ok([values(output.last_hidden_state), values(pooled)].concat())
    }

    fn text(&self, config: &ClipTextConfig, head: &str, prefix: &str) -> Result<Vec<f32>, String> {
        config.validate().map_err(|error| error.to_string())?;
        let tower = ClipText::new(config, &self.device).with_projection(config, &self.device);
        let tower = self.filled(tower, |path| match path.strip_prefix("text_projection.") {
            Some(own) => format!("{head}.{own}"),
            None => format!("{prefix}{path}"),
        })?;
        let output = tower.forward(self.integers("ids"), None);
        let embeds = output.text_embeds.unwrap();
        Ok([values(output.last_hidden_state), values(embeds)].concat())
    }
}

fn read<C: Published>(fields: Fields) -> Result<C, String> {
    C::published(fields).map_err(|problems| problems.join("; "))
}

#[test]
fn equal_to_the_reference_or_refused() {
    let variations = Variations::open("fields", "output");
    let compute = |set: &str, fields| {
        let case = Case {
            variations: &variations,
            set,
            device: Device::flex(),
        };
        match set {
            "unet" | "unet_more" => case.unet(fields),
            "autoencoder" => case.autoencoder(fields),
            "clip_vision" => case.vision(&read(fields)?, true),
            "siglip_vision" => case.vision(&read::<SiglipVisionConfig>(fields)?.0, false),
            "clip_text" => case.text(&read(fields)?, "text_projection", "text_model."),
            "siglip_text" => case.text(&read::<SiglipTextConfig>(fields)?.0, "head", ""),
            other => panic!("{other}"),
        }
    };
    let (equal, refused) = variations.equal_or_refused(TOLERANCE, &IDLE, compute);
    assert!(
        equal > 400 && refused > 400,
        "{equal} equal, {refused} refused"
    );
}
