"""Finger behind a balancer: each connection begins with a PROXY header, which names the client."""
