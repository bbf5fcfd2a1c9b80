#!/usr/bin/env bash
# Fuzzes the datagram parser: ./fuzz.sh [SECONDS], 60 by default. Needs a nightly toolchain; installs cargo-fuzz if it
# is missing. What it finds new is kept in protocol/fuzz/corpus, made small, for the test command to replay.
set -euo pipefail
cd "$(dirname "$0")/protocol"
seconds=${1:-60}
cargo +nightly --version >/dev/null || { echo "fuzz.sh: no nightly toolchain: rustup toolchain install nightly" >&2; exit 1; }
cargo +nightly fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
cargo +nightly fuzz run datagram -- -max_total_time="$seconds" -max_len=4096 -dict=fuzz/datagram.dict
cargo +nightly fuzz cmin datagram
