"""Serve the answers of a library: ``python -m bench.baselines PORT LIBRARY THREADS [ARGUMENT …]``."""

import importlib
import sys

from bench.baselines import serve

port, library, threads, *arguments = sys.argv[1:]
serve(int(port), int(threads), importlib.import_module(f"bench.baselines.{library}").configure(threads, *arguments))
