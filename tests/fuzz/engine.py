"""Runs atheris on one target: ``python -m tests.fuzz.engine TARGET [libFuzzer option or directory …]``."""

import shlex
import sys

import atheris

# Also instruments the targets, whose comparisons show atheris more than a regular expression does, and the YAML
# reader, whose branches are the grammar of the configuration.
with atheris.instrument_imports(include=["fingerd", "tests", "yaml"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    _, name, *options = sys.argv
    command = f"{shlex.quote(sys.executable)} -m tests.fuzz.engine {name}"  # with which libFuzzer restarts it
    atheris.Setup([command, *options], TARGETS[name].check)
    atheris.Fuzz()
