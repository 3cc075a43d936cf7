#!/bin/bash
# Stage 1 on four nodes of eight processes each; stages 2 and 3 follow in the same way.
#
#   sbatch deploy/slurm.sh configs/deem-7b-stage1.toml /shared/runs/stage1
#
# The program is built with `cargo build --release --features mpi` (and `cuda` for NVIDIA's cards). All nodes see the same
# files under the same names. Two minutes before its time is up, or when it is preempted, the run gets SIGTERM, saves a
# checkpoint, ends with 130 and is put back into the queue, from where it goes on.
#SBATCH --job-name=deem
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -u
config=$1
output=$2
export RAYON_NUM_THREADS=$SLURM_CPUS_PER_TASK
srun --mpi=pmix --kill-on-bad-exit=1 deem train "$config" --output "$output" --timeout 600
status=$?
# 130: interrupted, with a checkpoint; 70 and above 128: a process died or hung, the newest checkpoint is complete.
if [ "$status" -eq 130 ] || [ "$status" -eq 70 ] || [ "$status" -gt 128 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
