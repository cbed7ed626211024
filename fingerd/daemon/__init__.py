"""The daemon: command line, start-up, privileges, detaching, reload, supervisors."""
