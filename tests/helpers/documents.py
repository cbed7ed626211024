"""YAML documents from texts, without files."""

import yaml

from fingerd.config.document import Document


def compose(text: str) -> Document:
    """The document of a file ``cart.yaml`` with this text."""
    document = Document("cart.yaml")
    loader = yaml.SafeLoader(text)
    loader.name = "cart.yaml"
    document.root = loader.get_single_node()
    return document
