"""atheris on one target: ``python -m tests.fuzz.engine TARGET [option of libFuzzer or folder …]``."""

import shlex
import sys

import atheris

# Beside what is tested: the targets, which look closer than a regular expression lets atheris see, and the
# YAML reader, whose branches are the configuration's grammar.
with atheris.instrument_imports(include=["fingerd", "tests", "yaml"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    _, name, *options = sys.argv
    again = f"{shlex.quote(sys.executable)} -m tests.fuzz.engine {name}"  # by which libFuzzer's shell starts it again
    atheris.Setup([again, *options], TARGETS[name].check)
    atheris.Fuzz()
