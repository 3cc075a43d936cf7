//! InceptionV3 as the Fréchet Inception distance takes it (Heusel et al. 2017; Szegedy et al. 2015): what pytorch-fid runs
//! of `pt_inception-2015-12-05-6726825d.pth`, from pixels to the 2048 averages before the classifier.
//!
//! Differs from torchvision's network of the same keys: average pools leave out what they are padded with, and the last
//! block has a maximum where others have an average, as in the TensorFlow graph that the weights come from.

mod blocks;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use blocks::{
    BasicConv2d, InceptionA, InceptionB, InceptionC, InceptionD, InceptionE, Pool, max_pool,
};

/// Features of a picture, before the classifier, which is not computed.
#[derive(Module, Debug)]
pub struct InceptionV3 {
    conv2d_1a_3x3: BasicConv2d,
    conv2d_2a_3x3: BasicConv2d,
    conv2d_2b_3x3: BasicConv2d,
    conv2d_3b_1x1: BasicConv2d,
    conv2d_4a_3x3: BasicConv2d,
    mixed_5b: InceptionA,
    mixed_5c: InceptionA,
    mixed_5d: InceptionA,
    mixed_6a: InceptionB,
    mixed_6b: InceptionC,
    mixed_6c: InceptionC,
    mixed_6d: InceptionC,
    mixed_6e: InceptionC,
    mixed_7a: InceptionD,
    mixed_7b: InceptionE,
    mixed_7c: InceptionE,
}

impl InceptionV3 {
    /// Side of the pictures it was trained with.
    pub const SIDE: usize = 299;
    /// Number of features.
    pub const WIDTH: usize = 2048;
    /// Rows of the classifier in the weights that the distance is defined by (torchvision's own have 1000).
    pub const CLASSES: usize = 1008;

    /// The network, with weights to be loaded.
    pub fn new(device: &Device) -> Self {
        let conv = |inputs, outputs, kernel: usize, stride, padding| {
            BasicConv2d::new(inputs, outputs, [kernel; 2], stride, [padding; 2], device)
        };
        Self {
            conv2d_1a_3x3: conv(3, 32, 3, 2, 0),
            conv2d_2a_3x3: conv(32, 32, 3, 1, 0),
            conv2d_2b_3x3: conv(32, 64, 3, 1, 1),
            conv2d_3b_1x1: conv(64, 80, 1, 1, 0),
            conv2d_4a_3x3: conv(80, 192, 3, 1, 0),
            mixed_5b: InceptionA::new(192, 32, device),
            mixed_5c: InceptionA::new(256, 64, device),
            mixed_5d: InceptionA::new(288, 64, device),
            mixed_6a: InceptionB::new(288, device),
            mixed_6b: InceptionC::new(768, 128, device),
            mixed_6c: InceptionC::new(768, 160, device),
            mixed_6d: InceptionC::new(768, 160, device),
            mixed_6e: InceptionC::new(768, 192, device),
            mixed_7a: InceptionD::new(768, device),
            mixed_7b: InceptionE::new(1280, Pool::Average, device),
            mixed_7c: InceptionE::new(2048, Pool::Max, device),
        }
    }

    /// The key of a parameter in published files: `Mixed_5b.…` for `mixed_5b.…`.
    pub fn published_key(path: &str) -> String {
        let mut letters = path.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect()
    }

    /// # Shapes
    /// - `pixels`: `[pictures, 3, height, width]`, range [0, 1], at least 75 pixels a side; [`Self::SIDE`] for the distance
    /// - returns `[pictures, 2048]`
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let [pictures, ..] = pixels.dims();
        let x = pixels.mul_scalar(2.0).sub_scalar(1.0).permute([0, 2, 3, 1]);
        let x = self.conv2d_1a_3x3.forward(x);
        let x = self.conv2d_2a_3x3.forward(x);
        let x = max_pool(self.conv2d_2b_3x3.forward(x), 2, 0);
        let x = self.conv2d_3b_1x1.forward(x);
        let x = max_pool(self.conv2d_4a_3x3.forward(x), 2, 0);
        let x = self.mixed_5b.forward(x);
        let x = self.mixed_5c.forward(x);
        let x = self.mixed_5d.forward(x);
        let x = self.mixed_6a.forward(x);
        let x = self.mixed_6b.forward(x);
        let x = self.mixed_6c.forward(x);
        let x = self.mixed_6d.forward(x);
        let x = self.mixed_6e.forward(x);
        let x = self.mixed_7a.forward(x);
        let x = self.mixed_7b.forward(x);
        let x = self.mixed_7c.forward(x);
        x.mean_dim(1).mean_dim(2).reshape([pictures, Self::WIDTH])
    }
}
