//! Times every operation, fused against reference: `cargo run --release --example ops [filter [fast]]`.
//!
//! Processor time is counted, so run it with `RAYON_NUM_THREADS=1`: idle threads spin.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Distribution, Int, Tensor};
use deem_kernels::{self as k, AdamW, AttentionMask, Conv2dOptions, Mode, with_mode};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn random<const D: usize>(dims: [usize; D]) -> Tensor<D> {
    let device = Device::flex().autodiff();
    Tensor::random(dims, Distribution::Uniform(-1.0, 1.0), &device).require_grad()
}

/// Processor time of all threads, in milliseconds: hardly disturbed by what else runs here.
#[cfg(unix)]
fn clock() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 * 1e-6
}

#[cfg(not(unix))]
fn clock() -> f64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1e3
}

/// Shortest of many runs, in milliseconds.
fn time(mut body: impl FnMut()) -> f64 {
    body();
    let start = Instant::now();
    let mut best = f64::MAX;
    let mut runs = 0;
    while runs < 5 || (start.elapsed() < Duration::from_millis(250) && runs < 500) {
        let before = clock();
        body();
        best = best.min(clock() - before);
        runs += 1;
    }
    best
}

fn bench<const D: usize>(name: &str, flops: f64, op: impl Fn() -> Tensor<D>) {
    if std::env::args()
        .nth(1)
        .is_some_and(|filter| !name.contains(&filter))
    {
        return;
    }
    let measure = |mode| {
        with_mode(mode, || {
            let forward = time(|| {
                std::hint::black_box(op());
            });
            let both = time(|| {
                std::hint::black_box(op().sum().backward());
            });
            (forward, both)
        })
    };
    let fast = measure(Mode::Fast);
    let fast_only = std::env::args().nth(2).is_some_and(|mode| mode == "fast");
    let reference = if fast_only {
        (f64::NAN, f64::NAN)
    } else {
        measure(Mode::Reference)
    };
    println!(
        "{name:34} forward {:8.3} / {:8.3} = {:5.1}x ({:5.0} GF/s)   both {:8.3} / {:8.3} = {:5.1}x ({:5.0} GF/s)",
        reference.0,
        fast.0,
        reference.0 / fast.0,
        flops / fast.0 * 1e-6,
        reference.1,
        fast.1,
        reference.1 / fast.1,
        3.0 * flops / fast.1 * 1e-6,
    );
}

fn linear(rows: usize, inputs: usize, outputs: usize) {
    let (x, w, b) = (
        random([rows, inputs]),
        random([outputs, inputs]),
        random([outputs]),
    );
    let flops = 2.0 * (rows * inputs * outputs) as f64;
    bench(&format!("linear {rows}x{inputs}x{outputs}"), flops, || {
        k::linear(x.clone(), w.clone(), Some(b.clone()))
    });
}

fn conv(batch: usize, size: usize, inputs: usize, outputs: usize, kernel: usize, stride: usize) {
    let x = random([batch, size, size, inputs]);
    let w = random([outputs, inputs, kernel, kernel]);
    let b = random([outputs]);
    let padding = [usize::from(kernel == 3); 4];
    let options = Conv2dOptions {
        stride: [stride; 2],
        padding,
        groups: 1,
    };
    let [height, width] = options.output_size([size; 2], [kernel; 2]);
    let flops = 2.0 * (batch * height * width * inputs * outputs * kernel * kernel) as f64;
    bench(
        &format!("conv {kernel}/{stride} {batch}x{size}² {inputs}-{outputs}"),
        flops,
        || k::conv2d(x.clone(), w.clone(), Some(b.clone()), options),
    );
}

fn depthwise(batch: usize, size: usize, channels: usize) {
    let x = random([batch, size, size, channels]);
    let (w, b) = (random([channels, 1, 7, 7]), random([channels]));
    let options = Conv2dOptions {
        stride: [1; 2],
        padding: [3; 4],
        groups: channels,
    };
    let flops = 2.0 * (batch * size * size * channels * 49) as f64;
    bench(
        &format!("depthwise 7 {batch}x{size}² {channels}"),
        flops,
        || k::conv2d(x.clone(), w.clone(), Some(b.clone()), options),
    );
}

fn attention(batch: usize, heads: usize, seq: usize, dim: usize) {
    let [q, key, v] = [(); 3].map(|()| random([batch, seq, heads, dim]));
    let flops = 4.0 * (batch * heads * seq * seq * dim) as f64;
    bench(
        &format!("attention {batch}x{heads}x{seq}x{dim}"),
        flops,
        || {
            let [q, key, v] = [&q, &key, &v].map(|x| x.clone().swap_dims(1, 2));
            let mask = AttentionMask {
                causal: true,
                ..Default::default()
            };
            k::attention(q, key, v, mask, 0.2).swap_dims(1, 2)
        },
    );
}

/// A transformer block as in the shared measurements: width 256, 8 heads, GELU.
fn block(batch: usize, seq: usize, width: usize, heads: usize) {
    let x = random([batch, seq, width]);
    let scale = (width as f64).powf(-0.5);
    let weight = |o, i| (random([o, i]).inner() * scale).autodiff().require_grad();
    let weights = [
        weight(width, width),
        weight(width, width),
        weight(width, width),
        weight(width, width),
        weight(4 * width, width),
        weight(width, 4 * width),
    ];
    let [g1, b1, g2, b2] = [(); 4].map(|()| random([width]));
    let split = |x: Tensor<3>| {
        x.reshape([batch, seq, heads, width / heads])
            .swap_dims(1, 2)
    };
    bench(&format!("block {batch}x{seq}x{width}"), 0.0, || {
        let h = k::layer_norm(x.clone(), Some(g1.clone()), Some(b1.clone()), 1e-5);
        let [q, key, v] = [0, 1, 2].map(|i| split(k::linear(h.clone(), weights[i].clone(), None)));
        let h = k::attention(q, key, v, AttentionMask::default(), scale);
        let h = h.swap_dims(1, 2).reshape([batch, seq, width]);
        let x = x.clone() + k::linear(h, weights[3].clone(), None);
        let h = k::layer_norm(x.clone(), Some(g2.clone()), Some(b2.clone()), 1e-5);
        let h = k::gelu(k::linear(h, weights[4].clone(), None));
        x + k::linear(h, weights[5].clone(), None)
    });
}

/// GroupNorm, SiLU and 3×3 convolution twice, with a residual connection.
fn residual(batch: usize, size: usize, channels: usize) {
    let x = random([batch, size, size, channels]);
    let weights = [(); 2].map(|()| random([channels, channels, 3, 3]));
    let [g, b] = [(); 2].map(|()| random([channels]));
    let options = Conv2dOptions {
        stride: [1; 2],
        padding: [1; 4],
        groups: 1,
    };
    bench(
        &format!("residual {batch}x{size}² {channels}"),
        0.0,
        || {
            let mut h = x.clone();
            for w in &weights {
                h = k::group_norm(h, 8, g.clone(), b.clone(), 1e-5, true);
                h = k::conv2d(h, w.clone(), Some(b.clone()), options);
            }
            x.clone() + h
        },
    );
}

fn main() {
    block(2, 128, 256, 8);
    block(8, 48, 128, 4);
    residual(1, 32, 64);
    residual(1, 16, 128);
    linear(256, 512, 512);
    linear(512, 64, 64);
    linear(512, 128, 512);
    linear(512, 512, 128);
    linear(512, 256, 256);
    conv(2, 32, 32, 32, 3, 1);
    conv(4, 16, 64, 64, 3, 1);
    conv(2, 8, 192, 192, 3, 1);
    conv(4, 4, 192, 192, 3, 1);
    conv(4, 32, 3, 64, 3, 1);
    conv(4, 32, 64, 64, 1, 1);
    conv(4, 32, 32, 64, 3, 2);
    conv(4, 16, 64, 128, 2, 2);
    conv(8, 64, 3, 48, 4, 4);
    depthwise(2, 32, 64);
    depthwise(8, 8, 128);
    depthwise(8, 4, 256);
    attention(16, 4, 32, 16);
    attention(8, 4, 64, 32);
    attention(1, 4, 256, 32);

    let x = random([768, 128]);
    let [g, b] = [(); 2].map(|()| random([128]));
    bench("layer_norm 768x128", 0.0, || {
        k::layer_norm(x.clone(), Some(g.clone()), Some(b.clone()), 1e-5)
    });
    bench("rms_norm 768x128", 0.0, || {
        k::rms_norm(x.clone(), g.clone(), 1e-5)
    });
    let map = random([4, 16, 16, 128]);
    bench("group_norm+silu 4x16² 128", 0.0, || {
        k::group_norm(map.clone(), 8, g.clone(), b.clone(), 1e-5, true)
    });
    let wide = random([512, 512]);
    bench("gelu 512x512", 0.0, || k::gelu(wide.clone()));
    bench("silu 512x512", 0.0, || k::silu(wide.clone()));
    bench("swiglu 512x512", 0.0, || {
        k::swiglu(wide.clone(), wide.clone())
    });
    bench("geglu 512x512", 0.0, || k::geglu(wide.clone()));
    bench("softmax 512x512", 0.0, || k::softmax(wide.clone()));
    let logits = random([128, 4096]);
    let targets = Tensor::<1, Int>::arange(0..128, &Device::flex());
    bench("cross_entropy 128x4096", 0.0, || {
        k::cross_entropy(logits.clone(), targets.clone(), -100)
    });
    let heads = random([16, 48, 4, 32]);
    let angles = random([1, 48, 32]).inner();
    bench("rotary 16x4x48x32", 0.0, || {
        let x = heads.clone().swap_dims(1, 2);
        k::rotary(x, angles.clone().cos(), angles.clone().sin())
    });
    let value = random([2, 84, 4, 16]);
    let locations = random([2, 64, 4, 3, 4, 2]);
    let weights = random([2, 64, 4, 3, 4]);
    bench("deformable 2x64 queries", 0.0, || {
        let shapes = [[8, 8], [4, 4], [2, 2]];
        k::deformable_attention(value.clone(), &shapes, locations.clone(), weights.clone())
    });
    adamw();
}

fn adamw() {
    let options = AdamW {
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.01,
        step: 1,
    };
    let step = |mode| {
        with_mode(mode, || {
            let mut state = [(); 3].map(|()| random([100_000]).inner().abs());
            let grad = random([100_000]).inner();
            time(|| {
                let [p, m, v] = std::mem::replace(&mut state, [(); 3].map(|()| grad.clone()));
                state = k::adamw_step(p, grad.clone(), m, v, options).into();
            })
        })
    };
    let (reference, fast) = (step(Mode::Reference), step(Mode::Fast));
    println!(
        "adamw 100k {reference:.3} / {fast:.3} = {:.1}x",
        reference / fast
    );
}
