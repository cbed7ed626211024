"""Fuzzes the parser, the encoder, the log format and the configuration loader.

``targets`` checks properties of any bytes. ``python -m tests.fuzz`` runs
atheris to find bytes that violate them; ``test_corpus`` runs them in pytest on
the inputs in ``corpus/`` and on those that Hypothesis generates.
"""
