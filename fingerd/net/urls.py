"""URLs from the configuration, which may hold a password: errors show no part of them."""

from urllib.parse import SplitResult, urlsplit


def split_url(url: str) -> SplitResult:
    """The parts of a URL with a valid host and port. Raises ValueError for any other."""
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port  # checked when they are asked for
    except ValueError:  # its text has the part that is wrong, which is half of a password with a slash in it
        raise ValueError("is not a valid address (a password is percent-encoded)") from None
    return parts
