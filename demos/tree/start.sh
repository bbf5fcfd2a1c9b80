#!/usr/bin/env bash
# A tree: a router sends each symbol to one of two workers, and both send their answers to one sink.
#
#   start.sh                  feeds quotes and orders until Ctrl-C; says the address of a page to watch it on, and shows the
#                             nodes' reports once a second
#   start.sh --two-routers    the same with two routers, which may overtake each other: see README.md
#   start.sh --once           feeds nbbo.msg, then trades.msg, and shows the answers, sorted
source "$(dirname "${BASH_SOURCE[0]}")/../nodes.sh"
here=$project/demos/tree

shown=()
if [ "${1:-}" != --once ]; then
    watch
    shown=(--quiet)
fi

start sink sink --address 127.0.0.1:0 "${shown[@]}" "${metrics[@]}" --vuid sink >"$scratch/answers"
for queue in trunk left right; do
    start $queue mq --address 127.0.0.1:0 "${metrics[@]}" --vuid $queue
done
for queue in left right; do
    start worker-$queue worker --function marketspread --output-type queue "${metrics[@]}" --vuid worker-$queue \
        --input-address "$(address $queue)" --output-address "$(address sink)"
done
routers=1
[ "${1:-}" != --two-routers ] || routers=2
for ((n = 1; n <= routers; n++)); do
    start router-$n worker --function fixrouter --output-type queue "${metrics[@]}" --vuid router-$n \
        --input-address "$(address trunk)" --output-address "$(address left)" --output-address "$(address right)"
done

if [ "${1:-}" = --once ]; then
    feeder --quiet --address "$(address trunk)" --path "$here/nbbo.msg"
    feeder --quiet --address "$(address trunk)" --path "$here/trades.msg"
    settled "$scratch/answers" trunk left right
    # Two workers answer side by side, so the order of the answers is chance.
    LC_ALL=C sort "$scratch/answers"
    exit
fi

echo "Reports follow, once a second. Ctrl-C ends it all."
start feeder feeder --quiet --loop --rate 1k "${metrics[@]}" --vuid feeder --address "$(address trunk)" \
    --path "$here/nbbo.msg" --path "$here/trades.msg"
wait
