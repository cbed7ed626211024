"""The server: connections in, answers out, in the steps of ``socketserver``."""
