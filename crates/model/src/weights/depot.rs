//! Weights that lie elsewhere between two uses: of several processes each may keep a part of what is frozen.
//!
//! In the module stands a tensor of the same shape that has one number. Whoever asks a parameter for its value
//! ([`Param::val`]) gets the numbers from the depot, each time anew, and nothing keeps them afterwards; visitors and mappers
//! of modules see the stand-in. A block that is checkpointed therefore holds its weights only while it runs.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use burn::module::{Module, Param, Reparameterization, Reparameterizer};
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use deem_kernels::precision::cast;

/// Where numbers of parameters lie meanwhile.
pub trait Depot: Debug + Send + Sync {
    /// Takes the numbers of a parameter, in the place of what it had taken for it before.
    fn keep(&self, place: usize, numbers: TensorData);

    /// The numbers of a parameter; nothing if none were taken.
    fn fetch(&self, place: usize) -> Option<TensorData>;
}

/// Leaves parameters of a module to a depot: the values that they have, and whatever is loaded into them from now on.
///
/// - `places`: where each parameter of these paths has its place; none of them may have an adapter
/// - `dtype`: in which type they are kept; that in which they are loaded if none is given
pub fn keep_in<M: Module>(
    module: M,
    places: BTreeMap<String, usize>,
    depot: Arc<dyn Depot>,
    dtype: Option<FloatDType>,
) -> M {
    module.apply_reparameterization(Mover {
        places,
        depot,
        dtype: dtype.map(DType::from),
    })
}

/// What stands for a parameter's numbers in its module.
#[derive(Module, Debug)]
struct Kept {
    #[module(skip)]
    ticket: Ticket,
}

#[derive(Clone, Debug)]
struct Ticket {
    depot: Arc<dyn Depot>,
    place: usize,
}

impl Reparameterization for Kept {
    const NAME: &'static str = "depot";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let Ticket { depot, place } = &self.ticket;
        match depot.fetch(*place) {
            Some(numbers) => {
                let dtype = numbers.dtype();
                Tensor::from_data(numbers, (&base.device(), dtype))
            }
            None => base,
        }
    }
}

struct Mover {
    places: BTreeMap<String, usize>,
    depot: Arc<dyn Depot>,
    dtype: Option<DType>,
}

impl Reparameterizer for Mover {
    type Reparam = Kept;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Kept>) {
        let Some(&place) = self.places.get(path) else {
            return (param, None);
        };
        let (depot, dtype) = (self.depot.clone(), self.dtype);
        let mut param = param.load_mapper(move |value: Tensor<D>| {
            let value = dtype.map_or(value.clone(), |dtype| cast(value, dtype));
            let stand_in = stand_in(&value);
            depot.keep(place, value.into_data());
            stand_in
        });
        if param.is_initialized() {
            let (value, id) = (param.val().detach(), param.id);
            param = param.transform_for_load(value, id);
        }
        let ticket = Ticket {
            depot: self.depot.clone(),
            place,
        };
        (param, Some(Kept { ticket }))
    }
}

/// A tensor of the same shape, type and device that has one number.
fn stand_in<const D: usize>(value: &Tensor<D>) -> Tensor<D> {
    let one = TensorData::zeros::<f32, _>([1; D]);
    let one = Tensor::<D>::from_data(one, &value.device());
    cast(one, value.dtype()).expand(value.shape())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use burn::tensor::Device;

    use super::*;
    use crate::checkpointing::checkpoint;
    use crate::nn::Linear;
    use crate::weights::init::{Fill, initialize};
    use crate::weights::state;

    #[derive(Debug, Default)]
    struct Shelf {
        places: Mutex<BTreeMap<usize, TensorData>>,
        fetched: AtomicUsize,
    }

    impl Depot for Shelf {
        fn keep(&self, place: usize, numbers: TensorData) {
            self.places.lock().unwrap().insert(place, numbers);
        }

        fn fetch(&self, place: usize) -> Option<TensorData> {
            self.fetched.fetch_add(1, Ordering::Relaxed);
            self.places.lock().unwrap().get(&place).cloned()
        }
    }

    fn layer() -> Linear {
        let device = Device::flex().autodiff();
        let rules = [("", Fill::Normal(1.0))];
        initialize(Linear::new(3, 3, true, &device), 1, &rules).no_grad()
    }

    fn kept(layer: Linear, shelf: &Arc<Shelf>, dtype: Option<FloatDType>) -> Linear {
        let places = BTreeMap::from([("weight".to_owned(), 5)]);
        keep_in(layer, places, shelf.clone(), dtype)
    }

    /// Output, and the gradient by the input.
    fn run(layer: &Linear) -> [Vec<f32>; 2] {
        let device = Device::flex().autodiff();
        let x = Tensor::<1>::from_floats([0.5, -1.0, 2.0], &device);
        let x = x.reshape([1, 1, 3]).require_grad();
        let y = checkpoint(layer, [x.clone()], |layer, [x]| layer.forward(x).exp());
        let gradients = y.clone().sum().backward();
        [y, x.grad(&gradients).unwrap().autodiff()]
            .map(|x| x.into_data().iter::<f32>().collect::<Vec<f32>>())
    }

    #[test]
    fn numbers_are_fetched_when_they_are_used_and_not_kept() {
        deem_kernels::with_mode(deem_kernels::Mode::Fast, || {
            let shelf = Arc::new(Shelf::default());
            let (whole, kept) = (layer(), kept(layer(), &shelf, None));
            assert_eq!(run(&kept), run(&whole));
            // Forward, and again for the backward pass.
            assert_eq!(shelf.fetched.load(Ordering::Relaxed), 2);
            assert_eq!(run(&kept), run(&whole));
            assert_eq!(shelf.fetched.load(Ordering::Relaxed), 4);
            // Visitors see what stands for it, and do not ask.
            assert_eq!(state(&kept)[0].values, [0.0; 9]);
            assert_eq!(kept.weight.lazy_shape().dims(), [3, 3]);
            assert_eq!(shelf.fetched.load(Ordering::Relaxed), 4);
        });
    }

    #[test]
    fn what_is_loaded_later_goes_to_the_depot_in_its_type() {
        let shelf = Arc::new(Shelf::default());
        let device = Device::flex().autodiff();
        let empty = kept(
            Linear::new(3, 3, true, &device),
            &shelf,
            Some(FloatDType::BF16),
        );
        assert!(shelf.places.lock().unwrap().is_empty());
        let rules = [("", Fill::Constant(1.0 + 1.0 / 512.0))];
        let filled = initialize(empty, 1, &rules).no_grad();
        assert_eq!(filled.weight.val().dtype(), DType::BF16);
        // Eight bits of mantissa.
        let values: Vec<f32> = filled.weight.val().into_data().iter::<f32>().collect();
        assert_eq!(values, [1.0; 9]);
        assert_eq!(shelf.places.lock().unwrap()[&5].num_elements(), 9);
        assert!(!filled.weight.val().is_require_grad());
    }
}
