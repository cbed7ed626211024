"""Where log lines go, how they look, and the thread that writes them."""
