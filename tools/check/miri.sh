#!/bin/sh
# Runs the pointer code of the kernels that needs no tensor framework (vectors, matrix product, packing, threads) under
# Miri, which finds reads of memory without values, accesses out of bounds and data races. Twice: with plain Rust, and with
# AVX2. Miri knows no AVX-512.
#
# Needs a nightly toolchain: rustup toolchain install nightly -c miri -c rust-src
# The operations themselves are checked by memcheck.sh.
set -eu
cd "$(dirname "$0")/kernels"
# Helper threads of rayon's pool never end. Time passes, since helpers of the team stay awake for a while.
export MIRIFLAGS="-Zmiri-ignore-leaks"
for features in "" "-C target-feature=+avx2,+fma,+f16c"; do
    echo "features: $features"
    RUSTFLAGS="$features" cargo +nightly miri test --target-dir ../../../target/check-miri --lib
done
