//! Results are the same to the last bit, whatever the instruction set and the number of threads.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use deem_kernels::{self as k, AdamW, AttentionMask, Conv2dOptions, InstructionSet, MlpActivation};

use crate::check::{fast, numbers, tensor};

/// Results as bits: outputs and gradients.
pub type Bits = Vec<Vec<u32>>;

pub fn bits(results: Vec<Vec<f32>>) -> Bits {
    let bits = |x: Vec<f32>| x.into_iter().map(f32::to_bits).collect();
    results.into_iter().map(bits).collect()
}

/// What `work` gives, if it is the same with every instruction set of this processor and 1, 2 and 4 threads.
pub fn same(work: impl Fn() -> Vec<Vec<f32>> + Sync) -> Bits {
    let mut first = None;
    for threads in [1, 2, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().expect("threads");
        for set in InstructionSet::available() {
            let found = pool.install(|| k::with_instruction_set(set, &work));
            let found = bits(found.expect("available"));
            let first = first.get_or_insert_with(|| found.clone());
            for (i, (a, b)) in first.iter().zip(&found).enumerate() {
                let differing = a.iter().zip(b).filter(|(a, b)| a != b).count();
                assert_eq!(differing, 0, "result {i}, {threads} threads, {set}");
            }
        }
    }
    first.expect("at least one run")
}

/// A checksum of results, which every machine must find.
///
/// Where a kernel's arithmetic changes on purpose, so does the checksum: take the one that the test prints.
struct Checksum(u64);

impl Checksum {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// FNV-1a (Fowler, Noll and Vo), a word at a time.
    fn add(&mut self, results: Bits) {
        for word in results.concat() {
            self.0 = (self.0 ^ u64::from(word)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Adds output and gradients of an operation, if they are the [`same`].
    fn check<const D: usize>(
        &mut self,
        sizes: &[usize],
        op: impl Fn(&[Tensor<1>]) -> Tensor<D> + Sync,
    ) {
        let seeds = sizes.iter().zip(1..);
        let leaves: Vec<_> = seeds.map(|(n, seed)| numbers(*n, seed)).collect();
        self.add(same(|| fast(&leaves, &op)));
    }

    fn expect(self, checksum: u64) {
        assert_eq!(self.0, checksum, "{:#x}, not {checksum:#x}", self.0);
    }
}

fn matrix(x: &Tensor<1>, rows: usize, columns: usize) -> Tensor<2> {
    x.clone().reshape([rows, columns])
}

#[test]
fn linear() {
    let mut all = Checksum::new();
    for (rows, inputs, outputs) in [
        (1, 137, 21),
        (4, 65, 40),
        (5, 33, 17),
        (3001, 35, 33),
        (130, 70, 300),
    ] {
        all.check(&[rows * inputs, outputs * inputs, outputs], |x| {
            let weight = matrix(&x[1], outputs, inputs);
            k::linear(matrix(&x[0], rows, inputs), weight, Some(x[2].clone()))
        });
    }
    all.expect(0x4ce8_e529_40ba_b293);
}

#[test]
fn norms() {
    let mut all = Checksum::new();
    for (rows, n) in [(7, 5), (1501, 100)] {
        all.check(&[rows * n, n, n], |x| {
            let (weight, bias) = (Some(x[1].clone()), Some(x[2].clone()));
            k::layer_norm(matrix(&x[0], rows, n), weight, bias, 1e-5)
        });
    }
    all.check(&[1501 * 77, 77], |x| {
        k::rms_norm(matrix(&x[0], 1501, 77), x[1].clone(), 1e-6)
    });
    for silu in [false, true] {
        all.check(&[5 * 11 * 9 * 36, 36, 36], |x| {
            let map = x[0].clone().reshape([5, 11, 9, 36]);
            k::group_norm(map, 4, x[1].clone(), x[2].clone(), 1e-5, silu)
        });
    }
    all.expect(0x7853_8ff9_9f58_f892);
}

#[test]
fn activations() {
    let mut all = Checksum::new();
    let n = 50_021;
    all.check(&[n], |x| k::gelu(x[0].clone() * 8.0));
    all.check(&[n], |x| k::gelu_tanh(x[0].clone() * 8.0));
    all.check(&[n], |x| k::quick_gelu(x[0].clone() * 8.0));
    all.check(&[n], |x| k::silu(x[0].clone() * 40.0));
    all.check(&[n, n], |x| k::swiglu(x[0].clone() * 9.0, x[1].clone()));
    all.check(&[401 * 74], |x| k::geglu(matrix(&x[0], 401, 74) * 5.0));
    all.check(&[301 * 77], |x| k::softmax(matrix(&x[0], 301, 77) * 20.0));
    all.expect(0xa5f9_e7d0_38b4_5ea1);
}

#[test]
fn attention() {
    let mut all = Checksum::new();
    let [batch, heads, kv_heads] = [2, 6, 2];
    for (queries, keys, dim, causal) in [(41, 57, 20, false), (57, 57, 33, true)] {
        let sizes = [
            batch * heads * queries * dim,
            batch * kv_heads * keys * dim,
            batch * kv_heads * keys * dim,
        ];
        let visible: Vec<_> = (0..batch * keys).map(|i| i % 5 != 3).collect();
        let padding = TensorData::new(visible, [batch, keys]);
        let bias = numbers(heads * queries * keys, 9);
        all.check(&sizes, |x| {
            let split = |x: &Tensor<1>, heads: usize, rows: usize| {
                x.clone().reshape([batch, rows, heads, dim]).swap_dims(1, 2)
            };
            let device = Device::flex();
            let bias = Tensor::<1>::from_floats(bias.as_slice(), &device);
            let mask = AttentionMask {
                causal,
                key_padding: Some(Tensor::<2, Bool>::from_data(padding.clone(), &device)),
                bias: Some(bias.reshape([1, heads, queries, keys])),
            };
            let q = split(&x[0], heads, queries) * 3.0;
            let (key, value) = (split(&x[1], kv_heads, keys), split(&x[2], kv_heads, keys));
            k::attention(q, key, value, mask, 0.3)
        });
    }
    all.expect(0xe36d_8171_9689_f409);
}

#[test]
fn convolutions() {
    let mut all = Checksum::new();
    // Batch, height, width, channels in and out, kernel, stride, padding, groups
    for (shape, outputs, kernel, stride, padding, groups) in [
        ([9, 16, 13, 20], 35, 3, 1, 1, 1),
        ([37, 3, 3, 20], 35, 3, 1, 1, 1),
        ([9, 9, 8, 40], 70, 1, 1, 0, 1),
        ([5, 16, 12, 6], 19, 4, 4, 0, 1),
        ([5, 15, 14, 6], 19, 3, 2, 1, 1),
        ([9, 19, 21, 40], 40, 7, 1, 3, 40),
    ] {
        let [batch, height, width, inputs] = shape;
        let weight = [outputs, inputs / groups, kernel, kernel];
        let sizes = [
            batch * height * width * inputs,
            weight.iter().product(),
            outputs,
        ];
        all.check(&sizes, |x| {
            let options = Conv2dOptions {
                stride: [stride; 2],
                padding: [padding; 4],
                groups,
            };
            let map = x[0].clone().reshape(shape);
            let weight = x[1].clone().reshape(weight);
            k::conv2d(map, weight, Some(x[2].clone()), options)
        });
    }
    all.expect(0x68bf_7868_58fe_5949);
}

#[test]
fn mlps() {
    let mut all = Checksum::new();
    for (rows, inputs, inner, outputs) in [(13, 33, 17, 9), (1603, 24, 40, 35)] {
        let sizes = [
            rows * inputs,
            2 * inner * inputs,
            outputs * inner,
            2 * inner,
            outputs,
        ];
        all.check(&sizes, |x| {
            let up = (matrix(&x[1], 2 * inner, inputs), Some(x[3].clone()));
            let down = (matrix(&x[2], outputs, inner), Some(x[4].clone()));
            k::mlp(matrix(&x[0], rows, inputs), up, MlpActivation::Geglu, down)
        });
    }
    let (rows, inputs, inner) = (1203, 31, 45);
    all.check(
        &[
            rows * inputs,
            inner * inputs,
            inner * inputs,
            inputs * inner,
        ],
        |x| {
            let [gate, up] = [1, 2].map(|i| matrix(&x[i], inner, inputs));
            let down = matrix(&x[3], inputs, inner);
            k::swiglu_mlp(matrix(&x[0], rows, inputs), gate, up, down)
        },
    );
    all.expect(0xe382_37c4_8afa_dd0f);
}

#[test]
fn cross_entropy() {
    let mut all = Checksum::new();
    let (rows, classes) = (203, 429);
    let targets: Vec<i64> = (0..rows)
        .map(|i| if i % 7 == 3 { -100 } else { i * 13 % classes })
        .collect();
    let (rows, classes) = (rows as usize, classes as usize);
    all.check(&[rows * classes], |x| {
        let targets = Tensor::<1, Int>::from_ints(targets.as_slice(), &Device::flex());
        k::cross_entropy(matrix(&x[0], rows, classes) * 9.0, targets, -100)
    });
    all.expect(0x75d5_6def_dd3f_52bb);
}

#[test]
fn deformable_attention() {
    let mut all = Checksum::new();
    let shapes = [[9, 10], [5, 5], [2, 3]];
    let (batch, len, queries, heads, dim, points) = (3, 121, 29, 3, 20, 4);
    let samples = batch * queries * heads * 3 * points;
    all.check(&[batch * len * heads * dim, samples * 2, samples], |x| {
        k::deformable_attention(
            x[0].clone().reshape([batch, len, heads, dim]),
            &shapes,
            x[1].clone()
                .reshape([batch, queries, heads, 3, points, 2])
                .mul_scalar(0.8)
                .add_scalar(0.5),
            x[2].clone().reshape([batch, queries, heads, 3, points]),
        )
    });
    all.expect(0x48ec_85c4_394a_777e);
}

#[test]
fn rotary_and_select() {
    let mut all = Checksum::new();
    let (batch, heads, seq, dim) = (2, 4, 25, 38);
    let angles = numbers(seq * dim, 3);
    all.check(&[batch * heads * seq * dim], |x| {
        // Any numbers will do instead of cosines and sines.
        let table = |scale: f32| {
            let table = Tensor::<1>::from_floats(angles.as_slice(), &Device::flex());
            table.mul_scalar(scale).reshape([1, seq, dim])
        };
        let x = x[0].clone().reshape([batch, heads, seq, dim]);
        k::rotary(x, table(1.0), table(0.7))
    });
    let rows: Vec<_> = (0..400).map(|i| i * i % 37).collect();
    all.check(&[37 * 90], |x| k::select(matrix(&x[0], 37, 90), &rows));
    all.expect(0xd573_6a6f_82c9_133f);
}

#[test]
fn sums_products_and_elementary_functions() {
    let mut all = Checksum::new();
    all.check(&[200_003], |x| k::sum(x[0].clone()));
    all.check(&[301 * 77], |x| k::mean_last(matrix(&x[0], 301, 77)));
    all.check(&[3 * 140 * 70, 3 * 70 * 50], |x| {
        let a = x[0].clone().reshape([3, 140, 70]);
        k::matmul(a, x[1].clone().reshape([3, 70, 50]))
    });
    all.check(&[50_021], |x| k::exp(x[0].clone() * 60.0));
    all.check(&[50_021], |x| k::tanh(x[0].clone() * 3.0));
    all.expect(0x651d_a35e_b3fc_55dc);
}

#[test]
fn elementary_functions() {
    let mut all = Checksum::new();
    all.check(&[50_021], |x| k::gaussian(x[0].clone() * 6.0));
    all.check(&[50_021], |x| k::log(x[0].clone().abs() + 1e-4));
    all.check(&[50_021], |x| k::sigmoid(x[0].clone() * 40.0));
    all.check(&[50_021], |x| k::softplus(x[0].clone() * 40.0));
    all.check(&[50_021], |x| k::sqrt(x[0].clone().abs() + 1e-4));
    all.expect(0xd5c3_cdb2_f2fa_8acc);
}

#[test]
fn optimizer() {
    let options = AdamW {
        lr: 0.01,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.05,
        step: 37,
    };
    let results = same(|| {
        k::with_mode(k::Mode::Fast, || {
            let [p, g, m] = [1, 2, 3].map(|seed| tensor([40_003], seed));
            let norm = k::sum_of_squares([&p, &g]).to_bits();
            let v = m.clone().abs();
            let (p, m, v) = k::adamw_step(p, g, m, v, options);
            let values = |x: Tensor<1>| x.into_data().iter::<f32>().collect();
            let halves = [norm as u32, (norm >> 32) as u32].map(f32::from_bits);
            vec![values(p), values(m), values(v), halves.to_vec()]
        })
    });
    let mut all = Checksum::new();
    all.add(results);
    all.expect(0x88f2_2ad0_11d4_b7b5);
}
