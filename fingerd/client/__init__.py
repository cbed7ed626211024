"""pyfinger, a Finger client."""
