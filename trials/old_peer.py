#!/usr/bin/env python3
"""Old peers: a queue and a ping-pong worker in another language, written from docs/protocol.md alone.

    old_peer.py queue [PORT]                 a queue at this port, or a free one, which it tells on stderr
    old_peer.py pong HOST:PORT HOST:PORT     takes from the first queue, puts into the second
"""

import socket
import sys
import time
from collections import deque

DATAGRAM_BYTES_MAX = 65507


def frame(text):
    length = b"%x" % len(text)
    return b"%x" % len(length) + length + text if text else b"10"


def text_of(datagram):
    digits = int(datagram[:1], 16)
    length, text = datagram[1 : 1 + digits], datagram[1 + digits :]
    if int(length, 16) != len(text):
        raise ValueError("not a frame")
    return text


def queue(port="0"):
    messages = deque()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", int(port)))
    print("listening on %s:%d" % sock.getsockname(), file=sys.stderr, flush=True)
    while True:
        datagram, client = sock.recvfrom(DATAGRAM_BYTES_MAX)
        verb, _, message = text_of(datagram).partition(b":")
        if verb == b"PUT":
            messages.append(message)
            answer = b"PUT %d bytes" % len(message.decode())
        elif verb == b"GET":
            answer = messages.popleft() if messages else b""
        elif verb == b"SIZE":
            answer = b"%d" % len(messages)
        else:
            continue
        sock.sendto(frame(answer), client)


def client_of(address):
    host, _, port = address.rpartition(":")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(0.5)
    sock.connect((host, int(port)))
    return sock


def pong(source, target):
    # One socket for GETs, another for PUTs: answers do not say what they answer.
    gets, puts = client_of(source), client_of(target)
    while True:
        try:
            gets.send(frame(b"GET"))
            message = text_of(gets.recv(DATAGRAM_BYTES_MAX))
        except OSError:  # nobody there, or an answer lost: ask again
            message = b""
        if not message:
            time.sleep(0.01)
            continue
        puts.send(frame(b"PUT:" + {b"ping": b"pong", b"pong": b"ping"}[message]))
        puts.recv(DATAGRAM_BYTES_MAX)


if __name__ == "__main__":
    roles = {"queue": queue, "pong": pong}
    if len(sys.argv) < 2 or sys.argv[1] not in roles:
        sys.exit(__doc__)
    roles[sys.argv[1]](*sys.argv[2:])
