#!/usr/bin/env bash
# All tests: installs what they need, then format, lints, build, tests, documentation. Works on a fresh machine with a Rust
# toolchain. ./test.sh needs no arguments.
set -euo pipefail
cd "$(dirname "$0")"

say() { printf '\n== %s\n' "$*"; }

need() { # need COMMAND DEBIAN_PACKAGE
    command -v "$1" >/dev/null && return
    say "installing $2"
    local sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq && $sudo apt-get install -y -qq "$2" >/dev/null
}

need python3 python3 # the old peer in another language
need node nodejs     # leads the browser that opens the hub's page
need chromium chromium
need strace strace   # kills queues at their calls to the system, and fails their disks
need npm npm         # the libraries of the hub's page
cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
if ! [ hub/page/node_modules -nt hub/page/package-lock.json ]; then
    say "installing what leads the browser"
    npm ci --prefix hub/page --ignore-scripts --silent
fi

say "format"
cargo fmt --all --check
say "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings
say "build"
cargo build --workspace --locked
say "tests"
cargo test --workspace --locked
say "tests of the page's scripts"
node --test hub/page/tests/*.test.mjs
say "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
say "all passed"
