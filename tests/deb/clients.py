"""Runs in the machine: some threads send queries to the finger port until the end of standard input.

Then it prints as JSON: the number of queries, the answers with the number of
each, the reasons of queries without an answer, and the seconds of the slowest.
"""

import collections
import json
import socket
import sys
import threading
import time

THREADS = 4
PAUSE = 0.004  # seconds between the queries of a thread, so that the journal drops no lines
TIMEOUT = 20  # seconds

answers: "collections.Counter[str]" = collections.Counter()
lost: list[str] = []
slowest = 0.0
stopping = threading.Event()


def ask() -> str:
    with socket.create_connection(("127.0.0.1", 79), TIMEOUT) as client:
        client.sendall(b"example\r\n")
        answer = bytearray()
        while data := client.recv(4096):
            answer += data
    return answer.decode()


def ask_repeatedly() -> None:
    global slowest
    while not stopping.wait(PAUSE):
        start = time.monotonic()
        try:
            answer = ask()
            if answer.endswith("\r\n"):
                answers[answer] += 1
            else:
                lost.append(f"incomplete answer: {answer!r}")
        except OSError as error:
            lost.append(repr(error))
        slowest = max(slowest, time.monotonic() - start)


threads = [threading.Thread(target=ask_repeatedly) for _ in range(THREADS)]
for thread in threads:
    thread.start()
sys.stdin.read()
stopping.set()
for thread in threads:
    thread.join()
print(json.dumps((sum(answers.values()) + len(lost), answers, lost, slowest)))
