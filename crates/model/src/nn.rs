//! The layers every network here is made of.
//!
//! Differs from burn-nn: parameters keep PyTorch's names and layouts (`weight` is `[out, in]`), so
//! a module path is a checkpoint key; feature maps are channels-last; the arithmetic is
//! [`deem_kernels`]'. Constructors allocate nothing: a parameter is materialised on first use, with
//! zeros (or ones for a norm's weight), so that real values come from [`crate::weights::load`] or
//! [`crate::weights::init`] and a model of any size can be described for free.

mod batch_norm;

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Int, Shape, Tensor, TensorData};
use deem_kernels::{self as kernels, PackedMatrix, PrepackedMatrix};

use crate::lora::Adapter;

pub use batch_norm::BatchNorm2d;
pub use deem_kernels::Conv2dOptions;

/// A trainable parameter of the given shape that reads `value` until something is loaded into it.
pub fn param<const D: usize>(shape: [usize; D], value: f32, device: &Device) -> Param<Tensor<D>> {
    Param::uninitialized(
        ParamId::new(),
        move |device, require_grad| {
            Tensor::full(shape, value, device)
                .set_require_grad(require_grad && device.is_autodiff())
        },
        device.clone(),
        true,
        Shape::from(shape),
    )
}

/// A weight in another form than a tensor's, which is multiplied as it is.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// In blocks, as a file has it.
    Quantised(PackedMatrix),
    /// In the order that products read it in.
    Prepacked(PrepackedMatrix),
}

impl Form {
    pub(crate) fn linear<const D: usize>(
        &self,
        x: Tensor<D>,
        bias: Option<Tensor<1>>,
    ) -> Tensor<D> {
        match self {
            Self::Quantised(weight) => kernels::packed_linear(x, weight, bias),
            Self::Prepacked(weight) => kernels::prepacked_linear(x, weight, bias),
        }
    }

    /// Its numbers.
    fn unpack(&self) -> TensorData {
        match self {
            Self::Quantised(matrix) => TensorData::new(matrix.unpack(), matrix.shape()),
            Self::Prepacked(matrix) => matrix.unpack(),
        }
    }

    fn quantised(&self) -> Option<&PackedMatrix> {
        match self {
            Self::Quantised(matrix) => Some(matrix),
            Self::Prepacked(_) => None,
        }
    }

    /// A parameter beside it, into which it is unpacked if anyone asks for its value; the form is not meant any more
    /// then.
    fn on_demand(&self, param: &Param<Tensor<2>>) -> Param<Tensor<2>> {
        let form = self.clone();
        Param::uninitialized(
            param.id,
            move |device, require_grad| {
                let numbers = form.unpack();
                let dtype = numbers.dtype();
                Tensor::from_data(numbers, (device, dtype))
                    .set_require_grad(require_grad && device.is_autodiff())
            },
            param.lazy_device(),
            true,
            param.lazy_shape(),
        )
    }

    /// A parameter in the order of products; `None` where it is not on the CPU, may get a gradient, or has no value.
    fn prepacked(param: &Param<Tensor<2>>) -> Option<Self> {
        let plain = param.is_initialized() && param.reparameterization::<Adapter>().is_none();
        let matrix = plain.then(|| PrepackedMatrix::new(&param.val())).flatten();
        matrix.map(Self::Prepacked)
    }
}

/// Affine map of the last axis, `x · weightᵀ + bias` (`torch.nn.Linear`).
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`
    pub weight: Param<Tensor<2>>,
    /// `[out]`
    pub bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    form: Option<Form>,
}

impl Linear {
    /// A layer from `inputs` to `outputs` features.
    pub fn new(inputs: usize, outputs: usize, bias: bool, device: &Device) -> Self {
        Self::of(
            param([outputs, inputs], 0.0, device),
            bias.then(|| param([outputs], 0.0, device)),
        )
    }

    /// A layer of these parameters.
    pub fn of(weight: Param<Tensor<2>>, bias: Option<Param<Tensor<1>>>) -> Self {
        Self {
            weight,
            bias,
            form: None,
        }
    }

    /// Takes a packed weight of the same shape. It is multiplied as it is as long as nobody asks for the parameter's
    /// value, which is the same numbers unpacked, or loads another.
    pub fn pack(&mut self, weight: PackedMatrix) {
        self.take(Form::Quantised(weight));
    }

    /// Brings a weight on the CPU into the order that products read it in, for answers: see
    /// [`kernels::prepacked_linear`]. What is packed stays so.
    pub(crate) fn prepack(&mut self) {
        if let Some(form) = Form::prepacked(&self.weight) {
            self.take(form);
        }
    }

    fn take(&mut self, form: Form) {
        self.weight = form.on_demand(&self.weight);
        self.form = Some(form);
    }

    /// A copy whose weight, if it has another form, can be read without this layer's being unpacked.
    pub(crate) fn readable(&self) -> Self {
        let mut copy = self.clone();
        if let Some(form) = self.form() {
            copy.take(form.clone());
        }
        copy
    }

    /// The weight, if it has another form.
    pub(crate) fn form(&self) -> Option<&Form> {
        self.form.as_ref().filter(|_| !self.weight.is_initialized())
    }

    /// The weight, if it is packed.
    pub fn packed(&self) -> Option<&PackedMatrix> {
        self.form()?.quantised()
    }

    /// # Shapes
    /// - `x`: `[.., in]`
    /// - returns `[.., out]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let bias = self.bias.as_ref().map(Param::val);
        let linear = |x: Tensor<D>| match (self.form(), self.adapter()) {
            (Some(form), _) => form.linear(x, bias.clone()),
            (None, None) => kernels::linear(x, self.weight.val(), bias.clone()),
            (None, Some(_)) => kernels::linear(x, self.weight.base(), bias.clone()),
        };
        match self.adapter() {
            None => linear(x),
            Some(adapter) => adapter.add(linear(x.clone()), x),
        }
    }

    /// The low-rank adapter on its weight, if it has one.
    pub(crate) fn adapter(&self) -> Option<&Adapter> {
        self.weight.reparameterization()
    }

    /// Weight and bias, for operations that take in several layers. An adapter's dropout has no place there: see
    /// [`adapted`].
    pub(crate) fn affine(&self) -> kernels::Affine {
        (self.weight.val(), self.bias.as_ref().map(Param::val))
    }
}

/// Whether one of some layers has a low-rank adapter, so that they must be run one by one.
pub(crate) fn adapted<const N: usize>(layers: [&Linear; N]) -> bool {
    layers.iter().any(|layer| layer.adapter().is_some())
}

/// Normalisation over the last axis (`torch.nn.LayerNorm`).
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[features]`
    pub weight: Param<Tensor<1>>,
    /// `[features]`
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    eps: f64,
}

impl LayerNorm {
    /// A norm over `features` channels.
    pub fn new(features: usize, eps: f64, device: &Device) -> Self {
        Self {
            weight: param([features], 1.0, device),
            bias: param([features], 0.0, device),
            eps,
        }
    }

    /// # Shapes
    /// `x`: `[.., features]`, returned in the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        kernels::layer_norm(x, Some(self.weight.val()), Some(self.bias.val()), self.eps)
    }
}

/// Root-mean-square normalisation over the last axis (transformers `LlamaRMSNorm`).
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[features]`
    pub weight: Param<Tensor<1>>,
    #[module(skip)]
    eps: f64,
    /// Added to the weight.
    #[module(skip)]
    offset: f64,
}

impl RmsNorm {
    /// A norm over `features` channels.
    pub fn new(features: usize, eps: f64, device: &Device) -> Self {
        Self {
            weight: param([features], 1.0, device),
            eps,
            offset: 0.0,
        }
    }

    /// The same with something added to its weight, as where weights are published less one.
    #[must_use]
    pub fn with_offset(self, offset: f64) -> Self {
        Self { offset, ..self }
    }

    /// # Shapes
    /// `x`: `[.., features]`, returned in the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let weight = self.weight.val();
        let weight = if self.offset == 0.0 {
            weight
        } else {
            weight.add_scalar(self.offset)
        };
        kernels::rms_norm(x, weight, self.eps)
    }
}

/// Group normalisation of a channels-last map (`torch.nn.GroupNorm`).
#[derive(Module, Debug)]
pub struct GroupNorm {
    /// `[channels]`
    pub weight: Param<Tensor<1>>,
    /// `[channels]`
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    groups: usize,
    #[module(skip)]
    eps: f64,
}

impl GroupNorm {
    /// A norm over `channels`, in `groups` equal groups.
    pub fn new(groups: usize, channels: usize, eps: f64, device: &Device) -> Self {
        Self {
            weight: param([channels], 1.0, device),
            bias: param([channels], 0.0, device),
            groups,
            eps,
        }
    }

    /// # Shapes
    /// `x`: `[batch, height, width, channels]`, returned in the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.apply(x, false)
    }

    /// Normalisation followed by SiLU, in one pass.
    pub fn forward_silu(&self, x: Tensor<4>) -> Tensor<4> {
        self.apply(x, true)
    }

    fn apply(&self, x: Tensor<4>, silu: bool) -> Tensor<4> {
        kernels::group_norm(
            x,
            self.groups,
            self.weight.val(),
            self.bias.val(),
            self.eps,
            silu,
        )
    }
}

/// Two-dimensional convolution of a channels-last map (`torch.nn.Conv2d`).
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[out, in / groups, kernel height, kernel width]`
    pub weight: Param<Tensor<4>>,
    /// `[out]`
    pub bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    options: Conv2dOptions,
}

impl Conv2d {
    /// A convolution with a square kernel.
    pub fn new(
        inputs: usize,
        outputs: usize,
        kernel: usize,
        options: Conv2dOptions,
        device: &Device,
    ) -> Self {
        Self::rectangular(inputs, outputs, [kernel; 2], options, device)
    }

    /// A convolution with a kernel of the given height and width.
    pub fn rectangular(
        inputs: usize,
        outputs: usize,
        [height, width]: [usize; 2],
        options: Conv2dOptions,
        device: &Device,
    ) -> Self {
        Self {
            weight: param(
                [outputs, inputs / options.groups, height, width],
                0.0,
                device,
            ),
            bias: Some(param([outputs], 0.0, device)),
            options,
        }
    }

    /// The same convolution without its bias.
    pub fn without_bias(mut self) -> Self {
        self.bias = None;
        self
    }

    /// # Shapes
    /// - `x`: `[batch, height, width, in]`
    /// - returns `[batch, height', width', out]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        kernels::conv2d(
            x,
            self.weight.val(),
            self.bias.as_ref().map(Param::val),
            self.options,
        )
    }
}

/// Lookup table (`torch.nn.Embedding`).
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[entries, features]`
    pub weight: Param<Tensor<2>>,
    #[module(skip)]
    form: Option<Form>,
}

impl Embedding {
    /// A table of `entries` vectors.
    pub fn new(entries: usize, features: usize, device: &Device) -> Self {
        Self {
            weight: param([entries, features], 0.0, device),
            form: None,
        }
    }

    /// Takes a packed table, as [`Linear::pack`] does.
    pub fn pack(&mut self, table: PackedMatrix) {
        self.take(Form::Quantised(table));
    }

    /// As [`Linear::prepack`].
    pub(crate) fn prepack(&mut self) {
        if let Some(form) = Form::prepacked(&self.weight) {
            self.take(form);
        }
    }

    fn take(&mut self, form: Form) {
        self.weight = form.on_demand(&self.weight);
        self.form = Some(form);
    }

    /// As [`Linear::readable`].
    pub(crate) fn readable(&self) -> Self {
        let mut copy = self.clone();
        if let Some(form) = self.form() {
            copy.take(form.clone());
        }
        copy
    }

    fn form(&self) -> Option<&Form> {
        self.form.as_ref().filter(|_| !self.weight.is_initialized())
    }

    /// The table, if it is packed.
    pub fn packed(&self) -> Option<&PackedMatrix> {
        self.form()?.quantised()
    }

    /// The table as a linear layer from features to entries.
    ///
    /// # Shapes
    /// - `x`: `[.., features]`
    /// - returns `[.., entries]`
    pub fn project<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self.form() {
            Some(form) => form.linear(x, None),
            None => kernels::linear(x, self.weight.val(), None),
        }
    }

    /// # Shapes
    /// - `ids`: `[batch, seq]`
    /// - returns `[batch, seq, features]`
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [batch, seq] = ids.dims();
        let [_, features] = self.weight.lazy_shape().dims();
        let Some(form) = self.form() else {
            let ids = ids.reshape([batch * seq]);
            let rows = self.weight.val().select(0, ids);
            return rows.reshape([batch, seq, features]);
        };
        let ids: Vec<i64> = ids.into_data().iter::<i64>().collect();
        let device = self.weight.lazy_device();
        let rows = match form {
            Form::Quantised(table) => kernels::packed_rows(table, &ids, &device),
            Form::Prepacked(table) => {
                let numbers = table.select(&ids);
                let dtype = numbers.dtype();
                Tensor::from_data(numbers, (&device, dtype))
            }
        };
        rows.reshape([batch, seq, features])
    }
}
