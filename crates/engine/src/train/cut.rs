//! A backward pass in two parts, so that processes exchange the gradients of the first one while they compute the second.

use burn::module::Module;
use burn::tensor::{Gradients, Tensor};

use super::optimizer::GradientSet;

/// What a sum of values times their gradients is computed from.
type Product = Box<dyn FnOnce(&Gradients) -> Option<Tensor<1>>>;

/// Where the backward pass of a loss pauses: the gradients of all parameters behind it are final there, those of
/// parameters before it are yet to be computed. Without values it pauses nowhere.
#[derive(Default)]
pub struct Cut(Vec<Product>);

impl Cut {
    /// A value that lies on the cut, for whatever follows; itself if no gradient passes on through it.
    pub fn at<const D: usize>(&mut self, value: Tensor<D>) -> Tensor<D> {
        if !value.is_tracked() {
            return value;
        }
        let behind = value.clone().detach().require_grad();
        let same = behind.clone();
        self.0.push(Box::new(move |gradients| {
            let gradient = Tensor::from_inner(same.grad(gradients)?);
            Some((value * gradient).sum())
        }));
        behind
    }

    /// The second part, after the first one gave `gradients`.
    pub(super) fn before(self, gradients: &Gradients) -> Before {
        let products = self.0.into_iter().filter_map(|product| product(gradients));
        Before(products.reduce(|a, b| a + b))
    }
}

/// The second part of a backward pass. The gradient of its number, if there is one, is that of the loss.
#[derive(Default)]
pub(super) struct Before(Option<Tensor<1>>);

impl Before {
    /// Gradients of a model's trained parameters, as far as they come from before the cut.
    pub fn gradients<M: Module>(self, model: &M) -> GradientSet {
        let Some(sum) = self.0 else {
            return GradientSet::default();
        };
        GradientSet::collect(model, &sum.backward())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// y = (a x)², z = y b + y x: gradients with and without a cut at y.
    #[test]
    fn both_parts_together_are_the_whole() {
        let device = Device::flex().autodiff();
        let number = |value: f32| Tensor::<1>::from_data([value], &device).require_grad();
        let computed = |through: &mut dyn FnMut(Tensor<1>) -> Tensor<1>| {
            let [x, a, b] = [2.0, 3.0, 5.0].map(number);
            let y = through((a.clone() * x.clone()).square());
            (y.clone() * b.clone() + y * x.clone(), [x, a, b])
        };
        let values = |of: Option<Tensor<1>>| of.map(|g| g.into_scalar::<f32>());

        let (z, leaves) = computed(&mut |y| y);
        let gradients = z.backward();
        let expected = leaves.map(|leaf| values(leaf.grad(&gradients)));
        // dz/dx = 2 a² x (b + x) + y = 252 + 36, dz/da = 2 a x² (b + x) = 168, dz/db = y
        assert_eq!(expected, [Some(288.0), Some(168.0), Some(36.0)]);

        let mut cut = Cut::default();
        let (z, [x, a, b]) = computed(&mut |y| cut.at(y));
        let first = z.backward();
        assert_eq!(values(b.grad(&first)), Some(36.0));
        assert_eq!(values(x.grad(&first)), Some(36.0), "behind the cut");
        assert_eq!(values(a.grad(&first)), None);
        let second = cut.before(&first).0.unwrap().backward();
        assert_eq!(values(a.grad(&second)), Some(168.0));
        assert_eq!(values(x.grad(&second)), Some(252.0));
        assert_eq!(values(b.grad(&second)), None);
    }

    #[test]
    fn what_needs_no_gradient_is_not_cut() {
        let device = Device::flex().autodiff();
        let mut cut = Cut::default();
        let value = cut.at(Tensor::<1>::from_data([1.0], &device));
        assert!(!value.is_require_grad());
        assert!(cut.0.is_empty());
    }
}
