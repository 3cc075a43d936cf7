#!/bin/sh
# Runs the fused operations, forward and backward, under valgrind's memcheck: reads of memory without values, accesses
# out of bounds. Valgrind knows no AVX-512, so this is the AVX2 path. Needs valgrind; takes minutes.
#
#   tools/check/memcheck.sh [FILTER]     all, or the tests whose name contains FILTER
set -eu
cd "$(dirname "$0")/../.."
binary=$(cargo test --release -p deem-kernels -p deem --test fused --no-run --message-format json |
    sed -n 's/.*"executable":"\([^"]*\/fused-[^"]*\)".*/\1/p' | tail -n 1)
# A thread for each core would wait for the others in turn: valgrind runs one at a time.
exec env RAYON_NUM_THREADS=2 valgrind --error-exitcode=9 --exit-on-first-error=no --undef-value-errors=yes -q \
    "$binary" --test-threads 1 --skip reproducible "$@"
