//! UNets, autoencoders and towers of CLIP and SigLIP against diffusers and transformers, field by field of their
//! configurations (tools/parity/export_fields.py): what is computed equals the reference, and everything else is refused
//! with the field's name.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use deem_model::autoencoder::{Autoencoder, AutoencoderConfig};
use deem_model::clip::config::{
    ClipTextConfig, ClipVisionConfig, Family, SiglipTextConfig, SiglipVisionConfig,
};
use deem_model::clip::dual::DualLayout;
use deem_model::clip::text::ClipText;
use deem_model::clip::vit::ClipVit;
use deem_model::published::Published;
use deem_model::unet::{UNet, UNetConfig};
use deem_model::weights::{LoadOptions, load, load_placed};

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

    /// A module whose paths are the published keys, filled.
    fn filled<M: Module>(&self, module: M) -> Result<M, String> {
        let weights = self.variations.weights(self.set);
        load(module, &weights, &LoadOptions::default()).map_err(|error| error.to_string())
    }

    fn unet(&self, fields: Fields) -> Result<Vec<f32>, String> {
        let config: UNetConfig = read(fields)?;
        config.validate().map_err(|error| error.to_string())?;
        let unet = self.filled(UNet::new(&config, &self.device))?;
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
        let module = self.filled(Autoencoder::new(&config, &self.device))?;
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
        let tower = self.tower(tower, config.family, "vision_model", projects)?;
        let output = tower.forward(self.input("pixels"), &[]);
        let pooled = output.image_embeds.unwrap_or(output.pooler_output);
        Ok([values(output.last_hidden_state), values(pooled)].concat())
    }

    /// A tower filled as published; transformers writes SigLIP's towers without a name of the tower's own.
    fn tower<M: Module>(
        &self,
        tower: M,
        family: Family,
        name: &str,
        named: bool,
    ) -> Result<M, String> {
        let place = |path: &str| {
            let mut place = DualLayout::Transformers(family).place(&format!("{name}.{path}"));
            if let (false, Some(own)) = (named, place.key.strip_prefix(&format!("{name}."))) {
                place.key = own.to_owned();
            }
            place
        };
        let file = self.variations.weights(self.set);
        load_placed(tower, file, &place, &[]).map_err(|error| error.to_string())
    }

    fn text(&self, config: &ClipTextConfig, family: Family) -> Result<Vec<f32>, String> {
        config.validate().map_err(|error| error.to_string())?;
        let tower = ClipText::new(config, &self.device).with_projection(config, &self.device);
        let tower = self.tower(tower, family, "text_model", family == Family::Clip)?;
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
            "clip_text" => case.text(&read(fields)?, Family::Clip),
            "siglip_text" => case.text(&read::<SiglipTextConfig>(fields)?.0, Family::Siglip),
            other => panic!("{other}"),
        }
    };
    let (equal, refused) = variations.equal_or_refused(TOLERANCE, &IDLE, compute);
    assert!(
        equal > 400 && refused > 400,
        "{equal} equal, {refused} refused"
    );
}
