#!/usr/bin/env bash
# Simulates whole link graphs in bad weather, with nodes that stop and die: ./soak.sh [SEEDS], 100,000 by default. It names the
# first seed that fails, with all that was drawn for it; SEED=17 ./soak.sh plays that one and tells all that happens. FROM=100000
# plays others than the first.
# Before them, twice as many images of disks that have lost power (IMAGES), on each of which a queue with a log must have all
# that it answered: SEED=17 ./soak.sh plays that one of them, too.
set -euo pipefail
cd "$(dirname "$0")"
export SEEDS=${1:-100000}
export IMAGES=${IMAGES:-$((2 * SEEDS))}
WEIR_LOG_LIVES=260 cargo test --release --locked -p wal --test log losses_of_power -- --nocapture
cargo test --release --locked -p trials --test power promises -- --nocapture
cargo test --release --locked -p trials --test graphs promises -- --nocapture
