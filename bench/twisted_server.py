"""The last finger server of Twisted's tutorial: its answers are Deferreds, from a table."""

# Twisted is installed in another virtual environment, so its types are unknown here:
# mypy: ignore-errors

import sys

from twisted.application import service
from twisted.internet import defer, protocol, reactor
from twisted.protocols import basic


class FingerProtocol(basic.LineReceiver):
    def lineReceived(self, user):  # noqa: N802 - Twisted's name
        answer = self.factory.get_user(user)

        def on_error(_):
            return b"Internal error in server"

        def write_response(message):
            self.transport.write(message + b"\r\n")
            self.transport.loseConnection()

        answer.addErrback(on_error)
        answer.addCallback(write_response)


class FingerFactory(protocol.ServerFactory):
    protocol = FingerProtocol

    def __init__(self, finger_service):
        self.service = finger_service

    def get_user(self, user):
        return self.service.get_user(user)


class FingerService(service.Service):
    def __init__(self, users):
        self.users = users

    def get_user(self, user):
        return defer.succeed(self.users.get(user, b"No such user"))


if __name__ == "__main__":
    # Its default backlog of 50 makes 1,000 clients wait for seconds.
    finger = FingerService({b"alice": b"Happy and well"})
    reactor.listenTCP(int(sys.argv[1]), FingerFactory(finger), backlog=4096)
    reactor.run()
