#!/usr/bin/env bash
# Market spread: quotes and orders go through a queue and a worker to a sink.
#
#   start.sh [FILE...]           feeds a line from each file in turn, over and over, a thousand a second, until Ctrl-C; says
#                                the address of a page to watch it on, and shows the nodes' reports once a second
#   start.sh --once [FILE...]    feeds one file after the other, and shows the answers
#
# Without files of yours, it feeds nbbo.msg and trades.msg of this folder.
for file; do
    [ "$file" = --once ] || [ -r "$file" ] || { echo "cannot read $file" >&2; exit 1; }
done
source "$(dirname "${BASH_SOURCE[0]}")/../nodes.sh"

mode=${1:-}
[ "$mode" != --once ] || shift
[ $# -gt 0 ] || set -- "$project/demos/marketspread/nbbo.msg" "$project/demos/marketspread/trades.msg"

shown=()
if [ "$mode" != --once ]; then
    watch
    shown=(--quiet)
fi

start sink sink --address 127.0.0.1:0 "${shown[@]}" "${metrics[@]}" --vuid MARKET_SPREAD >"$scratch/answers"
start queue mq --address 127.0.0.1:0 "${metrics[@]}" --vuid NODE_1
start worker worker --function marketspread --output-type queue "${metrics[@]}" --vuid NODE_2 \
    --input-address "$(address queue)" --output-address "$(address sink)"

if [ "$mode" = --once ]; then
    for file; do
        feeder --quiet --address "$(address queue)" --path "$file"
    done
    settled "$scratch/answers" queue
    cat "$scratch/answers"
    exit
fi

echo "Reports follow, once a second. Ctrl-C ends it all."
paths=()
for file; do
    paths+=(--path "$file")
done
start feeder feeder --quiet --loop --rate 1k "${metrics[@]}" --vuid FEEDER --address "$(address queue)" "${paths[@]}"
wait
