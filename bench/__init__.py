"""What fingerd costs, beside the least that a finger server can cost and beside other servers: ``python -m bench``."""
