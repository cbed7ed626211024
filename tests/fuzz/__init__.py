"""Looks for inputs that break the parser, the encoder, the log's lines or the configuration loader.

``targets`` says what holds for any bytes. ``python -m tests.fuzz`` has atheris
look for bytes for which it does not; ``test_corpus`` has pytest try those that
are kept in ``corpus/``, and those that Hypothesis makes up.
"""
