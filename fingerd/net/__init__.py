"""Networking independent of Finger: addresses, name resolution, sockets with a deadline, HTTP."""
