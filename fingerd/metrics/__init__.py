"""Metrics for Prometheus, and the health of the daemon, by HTTP."""
