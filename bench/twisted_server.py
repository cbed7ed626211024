"""The finger server that Twisted's tutorial arrives at; its answers are Deferreds, from a table."""

# Twisted is installed for its own Python only, so nothing is known of its types:
# mypy: ignore-errors

import sys

from twisted.internet import defer, protocol, reactor
from twisted.protocols import basic


class FingerProtocol(basic.LineReceiver):
    def lineReceived(self, line):  # noqa: N802 - Twisted's name
        answer = self.factory.get_user(line)
        answer.addErrback(lambda _: b"Internal error in server")
        answer.addCallback(self.reply)

    def reply(self, message):
        self.transport.write(message + b"\r\n")
        self.transport.loseConnection()


class FingerFactory(protocol.ServerFactory):
    protocol = FingerProtocol
    noisy = False

    def __init__(self, users):
        self.users = users

    def get_user(self, user):
        return defer.succeed(self.users.get(user, b"No such user"))


if __name__ == "__main__":
    # Its default backlog of 50 makes 1,000 clients wait for seconds.
    reactor.listenTCP(int(sys.argv[1]), FingerFactory({b"alice": b"Happy and well"}), backlog=4096)
    reactor.run()
