//! What every image tower gives: a feature pyramid with named maps, and a sequence.

use burn::tensor::Tensor;

/// Feature maps of four resolutions, named as in the literature by the halvings of the image:
/// `[batch, height, width, channels]` each, half the size of the one before.
#[derive(Clone, Debug)]
pub struct Levels {
    /// A quarter of the image's side.
    pub c2: Tensor<4>,
    /// An eighth.
    pub c3: Tensor<4>,
    /// A sixteenth: the grid of the encoder's sequence.
    pub c4: Tensor<4>,
    /// The coarsest, where objects are recognised.
    pub c5: Tensor<4>,
}

impl Levels {
    /// Every level, changed in the same way.
    #[must_use]
    pub fn map(self, mut change: impl FnMut(Tensor<4>) -> Tensor<4>) -> Self {
        let [c2, c3, c4, c5] = self.into_array().map(&mut change);
        Self { c2, c3, c4, c5 }
    }

    /// The images of all parts, in their order.
    ///
    /// # Panics
    /// Without parts.
    pub fn cat(parts: Vec<Self>) -> Self {
        let level = |of: fn(&Self) -> &Tensor<4>| {
            let levels = parts.iter().map(|part| of(part).clone());
            Tensor::cat(levels.collect(), 0)
        };
        Self {
            c2: level(|part| &part.c2),
            c3: level(|part| &part.c3),
            c4: level(|part| &part.c4),
            c5: level(|part| &part.c5),
        }
    }

    /// The levels, finest first.
    pub fn into_array(self) -> [Tensor<4>; 4] {
        [self.c2, self.c3, self.c4, self.c5]
    }
}

impl From<[Tensor<4>; 4]> for Levels {
    /// - `levels`: finest first
    fn from([c2, c3, c4, c5]: [Tensor<4>; 4]) -> Self {
        Self { c2, c3, c4, c5 }
    }
}

impl IntoIterator for Levels {
    type Item = Tensor<4>;
    type IntoIter = std::array::IntoIter<Tensor<4>, 4>;

    /// The levels, finest first.
    fn into_iter(self) -> Self::IntoIter {
        self.into_array().into_iter()
    }
}

/// What the encoder sees.
#[derive(Clone, Debug)]
pub struct Pyramid {
    /// Feature maps `[batch, height, width, pyramid_dim]`.
    pub levels: Levels,
    /// `[batch, 1 + height * width, pyramid_dim]`: global token, then the grid of `c4`.
    pub sequence: Tensor<3>,
}
