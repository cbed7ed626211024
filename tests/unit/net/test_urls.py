"""URLs of the configuration: an error shows nothing of them."""

import pytest

from fingerd.net.urls import split_url


def test_a_url_is_split() -> None:
    parts = split_url("http://u:a%2Fb@[::1]:8080/x?y#z")
    assert (parts.hostname, parts.port, parts.password, parts.path) == ("::1", 8080, "a%2Fb", "/x")


@pytest.mark.parametrize(
    "url", ["http://u:s3cret/x@h/", "http://h:99999/", "http://[s3cret/", "http://[s3cret]/", "http://s3cret\u2100/"]
)
def test_an_invalid_url_is_refused_without_a_part_of_it(url: str) -> None:
    with pytest.raises(ValueError, match="is not a valid address") as caught:
        split_url(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__
