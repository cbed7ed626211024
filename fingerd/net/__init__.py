"""The network without Finger: addresses, names, sockets with a deadline, HTTP."""
