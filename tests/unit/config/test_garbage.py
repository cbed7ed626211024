"""While a configuration is built, the garbage collector does not look through it."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from fingerd.config.garbage import LARGE, collection_paused
from fingerd.errors import ConfigError
from fingerd.settings import read_config


@pytest.fixture
def collections() -> Iterator[list[str]]:
    """The garbage collections as they begin."""
    begun: list[str] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            begun.append(f"generation {info['generation']}")

    gc.callbacks.append(note)
    yield begun
    gc.callbacks.remove(note)


def test_what_is_new_counts_as_old_afterwards(collections: list[str]) -> None:
    with collection_paused():
        assert not gc.isenabled()
        made = [[number] for number in range(10 * LARGE)]
        collections_within = list(collections)
    assert gc.isenabled()
    assert collections_within == []
    assert any(each is made[-1] for each in gc.get_objects(generation=2))


def test_the_garbage_of_small_files_is_collected_soon() -> None:
    """Or a daemon grows with every reload: the oldest generation is hardly ever looked through."""
    gc.collect()
    with collection_paused():
        made = [[number] for number in range(LARGE // 10)]
    assert not any(each is made[-1] for each in gc.get_objects(generation=2))


def test_the_collector_runs_again_after_an_error() -> None:
    with pytest.raises(ConfigError), collection_paused():
        raise ConfigError(["wrong"])
    assert gc.isenabled()


def test_a_program_that_has_turned_it_off_keeps_it_off() -> None:
    gc.disable()
    try:
        with collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_a_program_has_frozen_stays_frozen() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with collection_paused():
            pass
        assert gc.get_freeze_count() > frozen / 2  # some may have been freed meanwhile
    finally:
        gc.unfreeze()


def test_nothing_is_collected_while_a_configuration_is_read(tmp_path: Path, collections: list[str]) -> None:
    path = tmp_path / "fingerd.yaml"
    users = "".join(f"    user{number}: {{name: Some Body, plan: here}}\n" for number in range(3_000))
    path.write_text(f"backend:\n  type: static\n  users:\n{users}")
    before = len(collections)
    settings, _ = read_config(str(path), {})
    assert collections[before:] == []
    assert settings.backend.people_count == 3_000
