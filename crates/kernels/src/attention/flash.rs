//! Fused attention of GPUs: cubek's kernel (flash attention, Dao et al. 2022), forward only.

use burn::backend::ops::AttentionModuleOptions;
use burn::tensor::{DType, Tensor};
use burn_cubecl::kernel::attention::flash_attention;
use cubek::attention::forward::launch::{BlueprintStrategy, Strategy};
use cubek::attention::forward::routines::blackbox_accelerated::BlackboxAcceleratedStrategy;

use super::AttentionMask;
use crate::graph::{from_gpu, on_gpu};
use crate::reference::attention::repeat_heads;

/// Rows of one tile of a tensor core.
const TILE: usize = 16;

/// What the kernel gives, where it is of use: in 16 bits, on tensor cores, for whole tiles, and for masks that let
/// every row see something and are no tables.
pub(super) fn flash(
    q: &Tensor<4>,
    k: &Tensor<4>,
    v: &Tensor<4>,
    mask: &AttentionMask,
    scale: f64,
) -> Option<Tensor<4>> {
    let narrow = matches!(q.dtype(), DType::F16 | DType::BF16);
    let plain = mask.bias.is_none() && mask.key_padding.is_none();
    let sees = !mask.causal || q.dims()[2] <= k.dims()[2];
    if !(narrow && plain && sees) {
        return None;
    }
    let queries = q.dims()[2];
    let fits = |planes: &u8| queries.is_multiple_of(TILE * usize::from(*planes));
    let strategy = BlackboxAcceleratedStrategy {
        num_planes: [4, 2, 1].into_iter().find(fits)?,
        seq_q: 1,
        seq_kv: 1,
    };
    let strategy = Strategy::BlackboxAccelerated(BlueprintStrategy::Inferred(strategy));
    run(q, k, v, mask.causal, scale, strategy)
}

/// Nothing elsewhere than on a GPU, or if the GPU cannot.
fn run(
    q: &Tensor<4>,
    k: &Tensor<4>,
    v: &Tensor<4>,
    causal: bool,
    scale: f64,
    strategy: Strategy,
) -> Option<Tensor<4>> {
    let [_, heads, _, dim] = q.dims();
    if k.dtype() != q.dtype() || v.dtype() != q.dtype() {
        return None;
    }
    // The kernel's own scale is that of the width.
    let rest = scale * (dim as f64).sqrt();
    let q = if (rest - 1.0).abs() < 1e-9 {
        q.clone()
    } else {
        q.clone() * rest
    };
    let (k, v) = (
        repeat_heads(k.clone(), heads),
        repeat_heads(v.clone(), heads),
    );
    let [q, k, v] = [on_gpu(q)?, on_gpu(k)?, on_gpu(v)?];
    let options = AttentionModuleOptions {
        scale: None,
        softcap: None,
        is_causal: causal,
    };
    let output = flash_attention(q, k, v, None, None, options, strategy);
    output.ok().map(from_gpu)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, DeviceType, Distribution};

    use super::*;
    use crate::reference;

    /// The same kernel without tensor cores, which every GPU can run, in 32 bits. Passes where there is no GPU.
    #[test]
    fn the_kernel_is_attention() {
        let Some(device) = Device::enumerate(gpus()).into_vec().into_iter().next() else {
            eprintln!("no GPU found");
            return;
        };
        for (queries, keys, heads, kv_heads, causal) in [
            (64, 64, 2, 2, false),
            (64, 64, 2, 1, true),
            (48, 80, 4, 2, true),
            (33, 70, 2, 2, false),
        ] {
            let random = |heads, rows| {
                let shape = [2, heads, rows, 32];
                Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device)
            };
            let (q, k, v) = (
                random(heads, queries),
                random(kv_heads, keys),
                random(kv_heads, keys),
            );
            let strategy = Strategy::Unit(BlueprintStrategy::Inferred(()));
            let found = run(&q, &k, &v, causal, 0.3, strategy).expect("a kernel for every GPU");
            let mask = AttentionMask {
                causal,
                ..AttentionMask::default()
            };
            let expected = reference::attention(q, k, v, mask, 0.3);
            let error = (found - expected).abs().max().into_scalar::<f32>();
            assert!(
                error < 1e-5,
                "{queries} {keys} {heads} {kv_heads} {causal}: {error}"
            );
        }
    }

    fn gpus() -> DeviceType {
        #[cfg(feature = "wgpu")]
        return DeviceType::Wgpu;
        #[cfg(not(feature = "wgpu"))]
        return DeviceType::Cuda;
    }
}
