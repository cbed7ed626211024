"""The wire format of RFC 1288, without I/O: bytes to queries, texts to bytes."""
