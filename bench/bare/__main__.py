"""Serve what a library finds: ``python -m bench.bare PORT LIBRARY THREADS``, and what that one is told."""

import importlib
import sys

from bench.bare import serve

port, library, threads, *arguments = sys.argv[1:]
serve(int(port), int(threads), importlib.import_module(f"bench.bare.{library}").begins(threads, *arguments))
