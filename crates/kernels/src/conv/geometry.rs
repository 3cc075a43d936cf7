//! All sizes of one convolution, and its division into bands of output rows.

use super::Conv2dOptions;

#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub batch: usize,
    /// Height and width.
    pub input: [usize; 2],
    pub output: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Top, bottom, left, right.
    pub padding: [usize; 4],
    /// Channels.
    pub inputs: usize,
    pub outputs: usize,
}

/// Some output rows of one image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Band {
    pub image: usize,
    pub first: usize,
    pub rows: usize,
}

impl Geometry {
    pub(super) fn new(x: &[usize], weight: &[usize], options: &Conv2dOptions) -> Self {
        let (input, kernel) = ([x[1], x[2]], [weight[2], weight[3]]);
        Self {
            batch: x[0],
            input,
            output: options.output_size(input, kernel),
            kernel,
            stride: options.stride,
            padding: options.padding,
            inputs: x[3],
            outputs: weight[0],
        }
    }

    /// Kernel positions.
    pub(super) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Output positions of the whole batch.
    pub(super) fn positions(&self) -> usize {
        self.batch * self.output[0] * self.output[1]
    }

    pub(super) fn output_shape(&self) -> [usize; 4] {
        [self.batch, self.output[0], self.output[1], self.outputs]
    }

    /// Floats in one row of the padded input.
    pub(super) fn padded_row(&self) -> usize {
        (self.input[1] + self.padding[2] + self.padding[3]) * self.inputs
    }

    /// Whether this is a matrix product of pixels.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0; 4]
    }

    /// The convolution of the output's gradient that gives the input's, for stride 1 and padding
    /// smaller than the kernel: padded with what the kernel reached beyond it, channels swapped.
    pub(super) fn transposed(&self) -> Option<Self> {
        let [top, bottom, left, right] = self.padding;
        let [height, width] = self.kernel;
        let fits = top.max(bottom) < height && left.max(right) < width;
        (self.stride == [1, 1] && fits).then(|| Self {
            input: self.output,
            output: self.input,
            padding: [
                height - 1 - top,
                height - 1 - bottom,
                width - 1 - left,
                width - 1 - right,
            ],
            inputs: self.outputs,
            outputs: self.inputs,
            ..*self
        })
    }

    /// Bands whose padded input has about `floats` elements.
    pub(super) fn bands(&self, floats: usize) -> Vec<Band> {
        let row = (self.padded_row() * self.stride[0]).max(1);
        let height = self.output[0];
        let count = height.div_ceil((floats / row).clamp(1, height));
        (0..self.batch * count)
            .map(|i| {
                let (image, part) = (i / count, i % count);
                let first = height * part / count;
                Band {
                    image,
                    first,
                    rows: height * (part + 1) / count - first,
                }
            })
            .collect()
    }
}
