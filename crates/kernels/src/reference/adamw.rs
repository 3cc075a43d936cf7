use burn::tensor::Tensor;

use crate::AdamW;

/// One AdamW update; see [`crate::adamw_step`].
pub fn adamw_step(
    param: Tensor<1>,
    grad: Tensor<1>,
    m: Tensor<1>,
    v: Tensor<1>,
    options: AdamW,
) -> (Tensor<1>, Tensor<1>, Tensor<1>) {
    let AdamW {
        lr,
        beta1,
        beta2,
        eps,
        weight_decay,
        ..
    } = options;
    let (correction1, correction2) = options.bias_corrections();
    let m = m * beta1 + grad.clone() * (1.0 - beta1);
    let v = v * beta2 + grad.square() * (1.0 - beta2);
    let denominator = (v.clone() / correction2).sqrt() + eps;
    let param = param * (1.0 - lr * weight_decay) - m.clone() / denominator * (lr / correction1);
    (param, m, v)
}
