"""Becoming a daemon, and being one: command line, privileges, reload, supervisors."""
