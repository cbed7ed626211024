"""Runs in the machine: asks the finger port over and over on some threads, until its standard input ends.

Then it prints, as JSON: how many have asked, the answers with how often each
came, why others got none, and the seconds of the slowest.
"""

import collections
import json
import socket
import sys
import threading
import time

THREADS = 4
PAUSE = 0.004  # seconds between the queries of a thread, lest the journal drops lines
TIMEOUT = 20  # seconds

answers: "collections.Counter[str]" = collections.Counter()
lost: list[str] = []
slowest = 0.0
ending = threading.Event()


def ask() -> str:
    with socket.create_connection(("127.0.0.1", 79), TIMEOUT) as client:
        client.sendall(b"example\r\n")
        heard = bytearray()
        while data := client.recv(4096):
            heard += data
    return heard.decode()


def ask_on() -> None:
    global slowest
    while not ending.wait(PAUSE):
        start = time.monotonic()
        try:
            answer = ask()
            if answer.endswith("\r\n"):
                answers[answer] += 1
            else:
                lost.append(f"half an answer: {answer!r}")
        except OSError as error:
            lost.append(repr(error))
        slowest = max(slowest, time.monotonic() - start)


threads = [threading.Thread(target=ask_on) for _ in range(THREADS)]
for thread in threads:
    thread.start()
sys.stdin.read()
ending.set()
for thread in threads:
    thread.join()
print(json.dumps((sum(answers.values()) + len(lost), answers, lost, slowest)))
