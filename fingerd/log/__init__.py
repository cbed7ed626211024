"""Logging: the format of log lines, the sinks they are written to, and the thread that writes them."""
