"""YAML files to dataclasses, with the place of every problem."""
