"""The backend alone, and what every backend must do. Run ``python -m pytest`` where fingerd is installed."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fingerd_weather import Weather

from fingerd.backends import BackendError, OptionError
from fingerd.testing import check_backend, check_failing, make_lookup

SOURCE = Path(__file__).parent.parent / "weather.json"


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of the source on a web server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(SOURCE.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{SOURCE.name}"
        server.shutdown()


def test_it_answers_with_the_weather() -> None:
    weather = Weather(str(SOURCE))
    assert [person.text for person in weather.find(make_lookup("Lisbon"))] == ["lisbon: clear, 24 °C\n"]
    assert [person.login for person in weather.list_users(make_lookup(""))] == ["lisbon", "reykjavik"]
    assert Weather(str(SOURCE), "fahrenheit").find(make_lookup("reykjavik"))[0].text == "reykjavik: sleet, 34 °F\n"


def test_it_keeps_to_the_protocol(url: str, tmp_path: Path) -> None:
    check_backend(Weather(str(SOURCE)), known="lisbon")
    web = Weather(url)
    check_backend(web, known="lisbon")
    web.close()
    for text in ("", "[]", '{"lisbon": 1}'):
        (tmp_path / "broken.json").write_text(text)
        check_failing(Weather(str(tmp_path / "broken.json")))
    check_failing(Weather("http://127.0.0.1:1/"))


def test_unknown_values_are_left_out_and_the_deadline_is_kept(url: str, tmp_path: Path) -> None:
    (tmp_path / "weather.json").write_text('{"oslo": {}, "rome": {"celsius": "hot"}}')
    weather = Weather(str(tmp_path / "weather.json"))
    assert [person.text for person in weather.list_users(make_lookup(""))] == ["oslo: unknown\n", "rome: unknown\n"]
    (tmp_path / "weather.json").write_text('{"Oslo": {"celsius": 1' + "0" * 400 + '}, "ROME": {"celsius": 9}}')
    assert [person.text for person in weather.list_users(make_lookup(""))] == [
        "oslo: unknown\n",
        "rome: unknown, 9 °C\n",
    ]
    assert [person.login for person in weather.find(make_lookup("Rome"))] == ["rome"]
    with pytest.raises(BackendError, match="not done in time"):
        Weather(url).find(make_lookup("lisbon", seconds=0))
    with pytest.raises(OptionError, match="must be an absolute path"):
        Weather("weather.json")


def test_a_missing_file_is_a_missing_requirement(tmp_path: Path) -> None:
    weather = Weather("/weather.json")
    assert list(weather.missing_requirements(tmp_path)) == [f"there is no file {tmp_path}/weather.json"]
    (tmp_path / "weather.json").touch()
    assert not list(weather.missing_requirements(tmp_path))
