#!/usr/bin/env bash
# Simulates whole link graphs in bad weather, with nodes that stop and die: ./soak.sh [SEEDS], 100,000 by default. It names the
# first seed that fails, with all that was drawn for it; SEED=17 ./soak.sh plays that one and tells all that happens.
set -euo pipefail
cd "$(dirname "$0")"
export SEEDS=${1:-100000}
cargo test --release --locked -p trials --test graphs promises -- --nocapture
