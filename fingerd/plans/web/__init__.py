"""``fingerd-plan serve``: people change their plans by HTTP, with a token or through a proxy that signs them in."""
