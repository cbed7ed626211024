"""The backend alone, and what every backend promises. Run by ``python -m pytest``, where fingerd is installed."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fingerd_weather import Weather

from fingerd.errors import BackendError, OptionError
from fingerd.testing import ask, check_backend, check_failing

SOURCE = Path(__file__).parent.parent / "weather.json"


@pytest.fixture
def address() -> Iterator[str]:
    """Where a web server of the test's own has the source."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(SOURCE.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{SOURCE.name}"
        server.shutdown()


def test_it_tells_the_weather() -> None:
    weather = Weather(str(SOURCE))
    assert [person.text for person in weather.find(ask("Lisbon"))] == ["lisbon: clear, 24 °C\n"]
    assert [person.login for person in weather.list_users(ask(""))] == ["lisbon", "reykjavik"]
    assert Weather(str(SOURCE), "fahrenheit").find(ask("reykjavik"))[0].text == "reykjavik: sleet, 34 °F\n"


def test_it_is_a_backend_as_all_others(address: str, tmp_path: Path) -> None:
    check_backend(Weather(str(SOURCE)), known="lisbon")
    web = Weather(address)
    check_backend(web, known="lisbon")
    web.close()
    for text in ("", "[]", '{"lisbon": 1}'):
        (tmp_path / "broken.json").write_text(text)
        check_failing(Weather(str(tmp_path / "broken.json")))
    check_failing(Weather("http://127.0.0.1:1/"))


def test_what_is_not_known_is_left_out_and_a_deadline_is_kept(address: str, tmp_path: Path) -> None:
    (tmp_path / "weather.json").write_text('{"oslo": {}, "rome": {"celsius": "hot"}}')
    weather = Weather(str(tmp_path / "weather.json"))
    assert [person.text for person in weather.list_users(ask(""))] == ["oslo: unknown\n", "rome: unknown\n"]
    (tmp_path / "weather.json").write_text('{"Oslo": {"celsius": 1' + "0" * 400 + '}, "ROME": {"celsius": 9}}')
    assert [person.text for person in weather.list_users(ask(""))] == ["oslo: unknown\n", "rome: unknown, 9 °C\n"]
    assert [person.login for person in weather.find(ask("Rome"))] == ["rome"]
    with pytest.raises(BackendError, match="not done in time"):
        Weather(address).find(ask("lisbon", seconds=0))
    with pytest.raises(OptionError, match="must be a whole path"):
        Weather("weather.json")
