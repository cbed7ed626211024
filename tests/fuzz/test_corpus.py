"""Runs the fuzz targets on the corpus, on the configurations in the source tree, and on inputs of Hypothesis."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import main
from tests.fuzz.seeds import CORPUS, configurations, corpus, dictionary, words
from tests.fuzz.targets import TARGETS, SideEffectError, side_effects_forbidden
from tests.helpers.daemons import ROOT

INPUTS = [(name, title) for name in TARGETS for title in corpus(name)]


@pytest.mark.parametrize(("name", "title"), INPUTS, ids=map("/".join, INPUTS))
def test_an_input_of_the_corpus_breaks_nothing(name: str, title: str) -> None:
    TARGETS[name].check(corpus(name)[title])


@pytest.mark.parametrize("title", configurations())
def test_the_configurations_of_the_source_tree_break_nothing(title: str) -> None:
    TARGETS["config"].check(configurations()[title])


def token_sequences(name: str) -> st.SearchStrategy[bytes]:
    """Sequences of the target's tokens and random bytes."""
    some = st.one_of(st.sampled_from(words(name)), st.sampled_from(words(name)), st.binary(max_size=4))
    return st.lists(some, max_size=40).map(b"".join)


def mutations(name: str) -> st.SearchStrategy[bytes]:
    """Inputs of the corpus, and configurations, with a part replaced."""
    seeds = [*corpus(name).values(), *(configurations().values() if name == "config" else ())]
    return st.builds(
        _with_a_part_replaced, st.sampled_from(seeds), st.integers(0), st.integers(0, 20), token_sequences(name)
    )


def _with_a_part_replaced(whole: bytes, where: int, length: int, part: bytes) -> bytes:
    start = where % (len(whole) + 1)
    return whole[:start] + part + whole[start + length :]


@pytest.mark.parametrize("name", TARGETS)
@settings(deadline=None)
@given(data=st.data())
def test_generated_inputs_break_nothing(name: str, data: st.DataObject) -> None:
    raw = data.draw(st.one_of(mutations(name), token_sequences(name), st.binary(max_size=200)))
    TARGETS[name].check(raw[: TARGETS[name].max_bytes])


SIDE_EFFECTS: dict[str, Callable[[Path], object]] = {
    "a file is written": lambda path: path.write_text(""),
    "a directory is made": lambda path: path.mkdir(),
    "a socket is made": lambda _: socket.socket(),
    "a name is looked up": lambda _: socket.getaddrinfo("localhost", 79),
    "a program is run": lambda _: os.system("true"),
    "the working directory is changed": lambda _: os.chdir("/"),
}


@pytest.mark.parametrize("effect", SIDE_EFFECTS.values(), ids=SIDE_EFFECTS.keys())
def test_a_side_effect_of_reading_a_configuration_is_detected(effect: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(SideEffectError), side_effects_forbidden():
        effect(tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_reading_files_is_no_side_effect(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with side_effects_forbidden():
        assert [path.read_text() for path in tmp_path.iterdir()] == ["text"]


def test_the_corpus_is_small() -> None:
    sizes = {name: [len(raw) for raw in corpus(name).values()] for name in TARGETS}
    assert sum(map(sum, sizes.values())) < 500_000
    for name, each in sizes.items():
        assert len(each) <= 300, name
        assert max(each) <= TARGETS[name].max_bytes, name
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert not any(str(ROOT).encode() in raw for name in TARGETS for raw in corpus(name).values())


def test_the_tokens_of_configurations_include_the_options_and_words_of_fingerd() -> None:
    assert {b"backend: ", b"output_bytes: ", b"from: ", b"silently", b"latin-1", b"static", b"!!int "} <= {
        *words("config")
    }
    assert '"\\x2f\\x57"\n' in dictionary("query")


def test_an_input_can_be_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "found"
    path.write_bytes(b"bob\r\n")
    assert main(["--target", "query", "--replay", str(path)]) == 0
    assert "query: holds for these 5 bytes" in capsys.readouterr().out


def test_a_replayed_input_that_fails_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "found"
    path.write_bytes(b"\0")
    monkeypatch.setattr("tests.fuzz.targets.cut_reply", lambda reply, limit: reply)
    assert main(["--target", "cut", "--target", "query", "--replay", str(path)]) == 1
    output = capsys.readouterr()
    assert "cut: fails for these 1 bytes" in output.out
    assert "query: holds for these 1 bytes" in output.out
    assert "AssertionError" in output.err
