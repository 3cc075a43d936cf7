//! Multinomial logistic regression: the linear classifier that tells best which things a representation shows.
//!
//! Least squares is no substitute where classes are many and features few: it found something that is there in half as many
//! scenes as the text tower's own words, which are a linear classifier too.

use burn::tensor::Tensor;
use deem_kernels::{AdamW, adamw_step};

/// Steps of full-batch gradient descent.
const STEPS: usize = 100;
/// Adam's first step size; it falls linearly to nothing.
const LEARNING_RATE: f64 = 0.01;
/// Weight of the squared weights, which keeps them finite where classes can be told apart without error.
const DECAY: f64 = 1e-6;

/// A fitted classifier of standardised features.
pub(super) struct Probe {
    mean: Tensor<2>,
    deviation: Tensor<2>,
    /// `[classes, features]`
    weight: Tensor<2>,
    /// `[classes]`
    bias: Tensor<1>,
}

impl Probe {
    /// Fits rows of features, `[rows, features]`, to the classes that each shows, 1 for each of them, `[rows, classes]`:
    /// as much probability as can be on any of them. Begins with a direction for each class, `[classes, features]`: for an encoder with a text
    /// tower its words, which have seen more pictures than any probe is fitted to.
    pub fn fit(rows: Tensor<2>, shown: Tensor<2>, directions: Tensor<2>) -> Self {
        let device = rows.device();
        let ([count, _], [_, classes]) = (rows.dims(), shown.dims());
        let mean = of_columns(rows.clone());
        let centred = rows - mean.clone();
        let deviation = deem_kernels::sqrt(of_columns(centred.clone() * centred.clone()));
        let deviation = deviation.add_scalar(1e-6);
        let rows = centred / deviation.clone();
        let offsets = deem_kernels::linear(directions.clone(), mean.clone(), None);
        let mut weight = Adam::of(directions * deviation.clone());
        let mut bias = Adam::of(offsets);
        let (across, ones) = (rows.clone().transpose(), Tensor::ones([1, count], &device));
        for step in 0..STEPS {
            let rate = LEARNING_RATE * (1.0 - step as f64 / STEPS as f64);
            let offsets = bias.value.clone().reshape([classes]);
            let scores = deem_kernels::linear(rows.clone(), weight.value.clone(), Some(offsets));
            let likely = softmax(scores);
            let right = likely.clone() * shown.clone();
            let wrong = likely - right.clone() / deem_kernels::sum_last(right).add_scalar(1e-9);
            let wrong = wrong.div_scalar(count as f64).transpose();
            let slope = deem_kernels::linear(wrong.clone(), across.clone(), None);
            let slope = slope + weight.value.clone().mul_scalar(DECAY);
            weight.step(slope, rate, step as u64 + 1);
            let slope = deem_kernels::linear(wrong, ones.clone(), None);
            bias.step(slope, rate, step as u64 + 1);
        }
        Self {
            mean,
            deviation,
            weight: weight.value,
            bias: bias.value.reshape([classes]),
        }
    }

    /// The likeliest class of each row.
    pub fn best(&self, rows: Tensor<2>) -> Vec<usize> {
        let rows = (rows - self.mean.clone()) / self.deviation.clone();
        let scores = deem_kernels::linear(rows, self.weight.clone(), Some(self.bias.clone()));
        let best = scores.argmax(1).into_data();
        best.iter::<i64>().map(|class| class as usize).collect()
    }
}

/// Mean of each column, `[1, columns]`.
fn of_columns(matrix: Tensor<2>) -> Tensor<2> {
    deem_kernels::mean_last(matrix.transpose()).transpose()
}

/// Probabilities along the last dimension.
fn softmax(scores: Tensor<2>) -> Tensor<2> {
    let exps = deem_kernels::exp(scores.clone() - scores.max_dim(1));
    exps.clone() / deem_kernels::sum_last(exps)
}

/// A matrix and its moments.
struct Adam {
    value: Tensor<2>,
    first: Tensor<2>,
    second: Tensor<2>,
}

impl Adam {
    fn of(value: Tensor<2>) -> Self {
        let zeros = value.zeros_like();
        Self {
            value,
            first: zeros.clone(),
            second: zeros,
        }
    }

    fn step(&mut self, slope: Tensor<2>, lr: f64, step: u64) {
        let options = AdamW {
            lr,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            step,
        };
        let shape = self.value.dims();
        let [value, first, second] = [&self.value, &self.first, &self.second];
        let flat = |tensor: &Tensor<2>| tensor.clone().flatten(0, 1);
        let (value, first, second) = adamw_step(
            flat(value),
            flat(&slope),
            flat(first),
            flat(second),
            options,
        );
        self.value = value.reshape(shape);
        self.first = first.reshape(shape);
        self.second = second.reshape(shape);
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn tensor<const D: usize>(values: [[f32; D]; 6]) -> Tensor<2> {
        Tensor::from_data(values, &Device::default())
    }

    fn without_words(shown: &Tensor<2>) -> Tensor<2> {
        Tensor::zeros([shown.dims()[1], 1], &Device::default())
    }

    /// Three classes along one line: the middle one is never furthest along anything, which least squares cannot say.
    #[test]
    fn the_class_in_the_middle_is_found() {
        let rows = tensor([[-1.0], [-1.1], [0.0], [0.1], [1.0], [1.1]]);
        let shown = tensor([
            [1.0, 0.0, 0.0],
            [1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0],
            [0.0, 1.0, 0.0],
            [0.0, 0.0, 1.0],
            [0.0, 0.0, 1.0],
        ]);
        let probe = Probe::fit(rows.clone(), shown.clone(), without_words(&shown));
        assert_eq!(probe.best(rows), [0, 0, 1, 1, 2, 2]);
    }

    /// Features that say nothing leave how frequent the classes are.
    #[test]
    fn without_features_the_most_frequent_class_is_best() {
        let rows = tensor([[2.0], [2.0], [2.0], [2.0], [2.0], [2.0]]);
        let shown = tensor([
            [1.0, 0.0],
            [0.0, 1.0],
            [1.0, 1.0],
            [0.0, 1.0],
            [0.0, 1.0],
            [0.0, 1.0],
        ]);
        let probe = Probe::fit(rows.clone(), shown.clone(), without_words(&shown));
        assert_eq!(probe.best(rows), [1; 6]);
    }
}
