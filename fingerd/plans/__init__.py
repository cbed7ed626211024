"""``fingerd-plan``: people edit their own entries, with the rights of the user who runs it. The daemon never writes."""
