"""RFC 1288's wire format, pure: bytes to queries, texts to bytes."""
