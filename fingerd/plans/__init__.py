"""``fingerd-plan``: people change what is told of them. The daemon never writes; the rights are those of the user."""
