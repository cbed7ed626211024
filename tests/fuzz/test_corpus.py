"""What holds for any bytes holds for those that are kept, those that come with fingerd, and those of Hypothesis."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import main
from tests.fuzz.seeds import CORPUS, configurations, dictionary, kept, words
from tests.fuzz.targets import TARGETS, TouchedError, watched
from tests.helpers.daemons import ROOT

KEPT = [(name, title) for name in TARGETS for title in kept(name)]


@pytest.mark.parametrize(("name", "title"), KEPT, ids=map("/".join, KEPT))
def test_what_was_found_once_breaks_nothing(name: str, title: str) -> None:
    TARGETS[name].check(kept(name)[title])


@pytest.mark.parametrize("title", configurations())
def test_the_configurations_that_come_with_fingerd_break_nothing(title: str) -> None:
    TARGETS["config"].check(configurations()[title])


def pieces(name: str) -> st.SearchStrategy[bytes]:
    """Words that mean something to the target, and bytes that may not, one after the other."""
    some = st.one_of(st.sampled_from(words(name)), st.sampled_from(words(name)), st.binary(max_size=4))
    return st.lists(some, max_size=40).map(b"".join)


def near(name: str) -> st.SearchStrategy[bytes]:
    """What is kept, and our configurations, with a part of them replaced."""
    seeds = [*kept(name).values(), *(configurations().values() if name == "config" else ())]
    return st.builds(_with_a_part_replaced, st.sampled_from(seeds), st.integers(0), st.integers(0, 20), pieces(name))


def _with_a_part_replaced(whole: bytes, where: int, length: int, part: bytes) -> bytes:
    start = where % (len(whole) + 1)
    return whole[:start] + part + whole[start + length :]


@pytest.mark.parametrize("name", TARGETS)
@settings(deadline=None)
@given(data=st.data())
def test_whatever_comes_breaks_nothing(name: str, data: st.DataObject) -> None:
    raw = data.draw(st.one_of(near(name), pieces(name), st.binary(max_size=200)))
    TARGETS[name].check(raw[: TARGETS[name].most])


TOUCHES: dict[str, Callable[[Path], object]] = {
    "a file is written": lambda path: path.write_text(""),
    "a folder is made": lambda path: path.mkdir(),
    "a socket is made": lambda _: socket.socket(),
    "a name is looked up": lambda _: socket.getaddrinfo("localhost", 79),
    "a program is run": lambda _: os.system("true"),
    "the folder is changed": lambda _: os.chdir("/"),
}


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES.keys())
def test_a_loader_that_touches_the_machine_would_be_seen(touch: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(TouchedError), watched():
        touch(tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_a_loader_may_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with watched():
        assert [path.read_text() for path in tmp_path.iterdir()] == ["text"]


def test_the_corpus_is_small() -> None:
    sizes = {name: [len(raw) for raw in kept(name).values()] for name in TARGETS}
    assert sum(map(sum, sizes.values())) < 500_000
    for name, each in sizes.items():
        assert len(each) <= 300, name
        assert max(each) <= TARGETS[name].most, name
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert not any(str(ROOT).encode() in raw for name in TARGETS for raw in kept(name).values())


def test_the_words_for_configurations_are_those_that_the_program_has() -> None:
    assert {b"backend: ", b"output_bytes: ", b"from: ", b"silently", b"latin-1", b"static", b"!!int "} <= {
        *words("config")
    }
    assert '"\\x2f\\x57"\n' in dictionary("query")


def test_a_found_input_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "found"
    path.write_bytes(b"bob\r\n")
    assert main(["--target", "query", "--replay", str(path)]) == 0
    assert "query: holds for these 5 bytes" in capsys.readouterr().out


def test_a_found_input_that_still_breaks_something_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "found"
    path.write_bytes(b"\0")
    monkeypatch.setattr("tests.fuzz.targets.cut_reply", lambda reply, limit: reply)
    assert main(["--target", "cut", "--target", "query", "--replay", str(path)]) == 1
    output = capsys.readouterr()
    assert "cut: broken by these 1 bytes" in output.out
    assert "query: holds for these 1 bytes" in output.out
    assert "AssertionError" in output.err
