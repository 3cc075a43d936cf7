//! Convolutions.

use deem_kernels::{Conv2dOptions, conv2d};

use crate::check::check;

fn compare(
    [batch, height, width, inputs]: [usize; 4],
    outputs: usize,
    kernel: [usize; 2],
    options: Conv2dOptions,
) {
    let weight = [outputs, inputs / options.groups, kernel[0], kernel[1]];
    let sizes = [
        batch * height * width * inputs,
        weight.iter().product(),
        outputs,
    ];
    check(&sizes, |x| {
        // A view of a channels-first map, so not contiguous
        let map = x[0]
            .clone()
            .reshape([batch, inputs, height, width])
            .permute([0, 2, 3, 1]);
        conv2d(
            map,
            x[1].clone().reshape(weight),
            Some(x[2].clone()),
            options,
        )
    });
    check(&sizes[..2], |x| {
        let map = x[0].clone().reshape([batch, height, width, inputs]);
        conv2d(map, x[1].clone().reshape(weight), None, options)
    });
}

fn options(stride: usize, padding: [usize; 4], groups: usize) -> Conv2dOptions {
    Conv2dOptions {
        stride: [stride; 2],
        padding,
        groups,
    }
}

#[test]
fn three_by_three() {
    compare([2, 5, 7, 3], 4, [3, 3], options(1, [1; 4], 1));
    compare([3, 16, 13, 20], 35, [3, 3], options(1, [1; 4], 1));
    compare([1, 3, 3, 2], 3, [3, 3], options(1, [0; 4], 1));
    compare([2, 4, 4, 33], 16, [3, 3], options(1, [1, 0, 2, 1], 1));
}

#[test]
fn narrow() {
    compare([17, 3, 3, 20], 35, [3, 3], options(1, [1; 4], 1));
    compare([40, 4, 5, 3], 4, [3, 3], options(1, [1; 4], 1));
    compare([2, 1, 1, 3], 4, [3, 3], options(1, [2; 4], 1));
    compare([3, 4, 1, 5], 6, [3, 3], options(2, [1, 0, 3, 0], 1));
}

#[test]
fn pointwise() {
    compare([2, 5, 7, 3], 4, [1, 1], options(1, [0; 4], 1));
    compare([2, 9, 8, 40], 70, [1, 1], options(1, [0; 4], 1));
}

#[test]
fn strided() {
    compare([2, 8, 8, 5], 6, [2, 2], options(2, [0; 4], 1));
    compare([2, 9, 7, 5], 6, [2, 2], options(2, [0; 4], 1));
    compare([2, 8, 10, 6], 9, [3, 3], options(2, [1; 4], 1));
    compare([2, 8, 8, 6], 9, [3, 3], options(2, [0, 1, 0, 1], 1));
    compare([2, 13, 16, 3], 18, [4, 4], options(4, [0; 4], 1));
    compare(
        [1, 6, 9, 4],
        5,
        [3, 1],
        Conv2dOptions {
            stride: [1, 2],
            padding: [1, 1, 0, 0],
            groups: 1,
        },
    );
}

#[test]
fn padding_beyond_the_kernel() {
    compare([1, 4, 4, 2], 3, [1, 1], options(1, [1; 4], 1));
    compare([1, 4, 4, 3], 3, [3, 3], options(1, [3, 0, 1, 4], 3));
}

#[test]
fn depthwise() {
    compare([2, 9, 11, 20], 20, [7, 7], options(1, [3; 4], 20));
    compare([2, 5, 4, 33], 33, [3, 3], options(1, [1; 4], 33));
    compare([1, 6, 6, 16], 16, [5, 2], options(1, [0; 4], 16));
}

#[test]
fn groups_take_the_reference() {
    compare([2, 5, 6, 4], 6, [3, 3], options(1, [1; 4], 2));
    compare([2, 7, 7, 4], 4, [3, 3], options(2, [1; 4], 4));
}
