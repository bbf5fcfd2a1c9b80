#!/usr/bin/env bash
# Ping-pong: one queue, one worker that takes from it and answers into it, and one message that goes round for ever.
#
#   start.sh           plays until Ctrl-C; says the address of a page to watch it on, and shows the reports of both nodes once
#                      a second
#   start.sh --once    puts the lines of input.txt, and shows what comes of each
source "$(dirname "${BASH_SOURCE[0]}")/../nodes.sh"
here=$project/demos/pong

if [ "${1:-}" = --once ]; then
    # Two queues here, so that each message is hit once.
    start balls mq --address 127.0.0.1:0
    start returns mq --address 127.0.0.1:0
    start player worker --function pong --output-type queue \
        --input-address "$(address balls)" --output-address "$(address returns)"
    sed 's/^/PUT:/' "$here/input.txt" | udp-client --raw "$(address balls)" >/dev/null
    until [ "$(udp-client --raw "$(address returns)" SIZE)" = "$(wc -l <"$here/input.txt")" ]; do sleep 0.05; done
    sed 's/.*/GET/' "$here/input.txt" | udp-client --raw "$(address returns)"
    exit
fi

watch
start table mq --address 127.0.0.1:0 "${metrics[@]}" --vuid TABLE
start player worker --function pong --output-type queue "${metrics[@]}" --vuid PLAYER \
    --input-address "$(address table)" --output-address "$(address table)"
udp-client "$(address table)" PUT:ping
echo "Reports follow, once a second. Ctrl-C ends the game."
wait
