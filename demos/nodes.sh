# What the start scripts of the demos share: the programs, nodes that end with the script, and where they listen.
# It is sourced, not run. The scripts read as recipes made of these words:
#
#   start NODE PROGRAM FLAGS...    runs a node in the background; NODE is what the script calls it
#   address NODE                   the HOST:PORT where it listens, once it does
#   watch                          runs a hub and says the address of its page; runs a metrics-receiver that posts to it, with
#                                  the flags that make a node report to that in $metrics
#   settled FILE NODE...           waits until these queues are empty and FILE has not grown for a second
#
# Nodes listen at ports that the system chooses, so a demo runs beside whatever else is running.

set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scratch=$(mktemp -d)
started=()
metrics=()

# The end, however it comes: the last line, an error, Ctrl-C or SIGTERM. Nodes are told in the reverse order of their
# start, so that whoever receives reports still gets the last ones.
finish() {
    trap '' INT TERM
    local n
    for ((n = ${#started[@]} - 1; n >= 0; n--)); do
        kill -TERM "${started[n]}" 2>/dev/null || true
        wait "${started[n]}" || true
    done
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 0' INT TERM

need() { # need COMMAND DEBIAN_PACKAGE
    command -v "$1" >/dev/null && return
    echo "Installing $2." >&2
    local sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq >&2 && $sudo apt-get install -y -qq "$2" >&2
}

# The programs: those in the folder that WEIR_BIN names, or this project's, built anew if they are not up to date.
if [ -z "${WEIR_BIN:-}" ]; then
    need npm npm # the libraries of the hub's page
    echo "Building the programs; the first time, this takes some minutes." >&2
    programs=(-p mq -p worker -p feeder -p sink -p metrics-receiver -p hub -p udp-client)
    WEIR_BIN=$(cd "$project" && cargo build --release --quiet "${programs[@]}" &&
        cd "${CARGO_TARGET_DIR:-target}/release" && pwd)
fi
PATH=$WEIR_BIN:$PATH

start() {
    local node=$1
    shift
    : >"$scratch/$node.err"
    "$@" 2>"$scratch/$node.err" </dev/null &
    started+=($!)
    echo $! >"$scratch/$node.pid"
}

address() {
    local found
    until found=$(sed -n 's/^listening on //p' "$scratch/$1.err") && [ -n "$found" ]; do
        if ! kill -0 "$(cat "$scratch/$1.pid")" 2>/dev/null; then
            echo "$1 does not listen:" >&2
            cat "$scratch/$1.err" >&2
            return 1
        fi
        sleep 0.05
    done
    echo "$found"
}

watch() {
    start hub hub --address 127.0.0.1:0
    start reports metrics-receiver --address 127.0.0.1:0 --uri "http://$(address hub)/post"
    metrics=(--metrics-address "$(address reports)" --stats-period 1)
    echo "The page: http://$(address hub)/"
}

settled() {
    local file=$1 before=-1 now queue sizes
    shift
    while true; do
        now=$(wc -c <"$file")
        sizes=$(for queue in "$@"; do udp-client --raw "$(address "$queue")" SIZE; done | sort -u)
        [ "$now $sizes" != "$before 0" ] || break
        before=$now
        sleep 1
    done
}
