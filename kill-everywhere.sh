#!/usr/bin/env bash
# Kills a queue with a log at every call to the system that writes, syncs, names or answers, of a load and of a start, and
# looks each time that all it answered holds; then kills queues 200 times while messages pass from a feeder to a sink, for
# each level. Needs strace. About 1,000 points, four minutes on two processors: ./kill-everywhere.sh [KILLS]
set -euo pipefail
cd "$(dirname "$0")"
export WEIR_KILL_POINTS=all WEIR_QUEUE_KILLS=${1:-200}
cargo build --workspace --locked
cargo test --locked -p trials --test log -- --nocapture points:: kills::
