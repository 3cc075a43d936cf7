#!/bin/sh
# Runs the thread team (crates/kernels/src/host/team.rs) through all interleavings and reorderings that the memory
# model allows, up to a number of preemptions, with the model checker loom. Takes a minute or two.
#
#   tools/check/loom.sh                            three preemptions
#   LOOM_MAX_PREEMPTIONS=4 tools/check/loom.sh     deeper
set -eu
cd "$(dirname "$0")/kernels"
export RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-3}"
exec cargo test --release --target-dir ../../../target/check-loom --lib model
