"""The option ``listen`` of every section: its addresses, as texts and as mappings."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Annotated, Any

import yaml

from fingerd.config.document import join
from fingerd.config.schema import INVALID, Reader
from fingerd.config.values import read_scalar, to_text
from fingerd.server.listeners import InheritedSocket, Proxies, TcpAddress, UnixAddress, parse_listen, read_address

_FINGER = re.compile(r"listen(\[\d+\])?")  # the path of an address of the section without a name


@dataclass(frozen=True, slots=True)
class SystemdSocket:
    """A socket that systemd passes, by its FileDescriptorName=."""

    systemd: str
    proxies: Proxies = ()


@dataclass(frozen=True, slots=True)
class AddressOptions:
    """An address with options of its own."""

    address: Annotated[TcpAddress | UnixAddress, read_address]
    proxies: Proxies = ()


def read_listen(reader: Reader, node: yaml.Node, path: str) -> Any:
    """One address of ``listen``, or INVALID; ValueError where a text names none."""
    if isinstance(node, yaml.MappingNode):
        return _read_mapping(reader, node, path)
    if (scalar := read_scalar(node)) is None:
        return reader.fail(node, path, "must be an address")
    return parse_listen(scalar.text if scalar.text.isdigit() else to_text(scalar))


def _read_mapping(reader: Reader, node: yaml.MappingNode, path: str) -> Any:
    keys = {key.value: (key, value) for key, value in node.value}
    if "proxies" in keys:
        key, value = keys["proxies"]
        if not _FINGER.fullmatch(path):
            return reader.fail(key, join(path, "proxies"), "is an option of the section, for all of its addresses")
        if isinstance(value, yaml.SequenceNode) and not value.value:
            return reader.fail(value, join(path, "proxies"), "is empty: name the balancers, or remove the option")
        if not keys.keys() & {"address", "systemd", "unix"}:
            return reader.fail(node, path, "is no address: it needs address, unix or systemd")
    if "systemd" in keys:
        found = reader.read_fields(node, SystemdSocket, path)
        if found is not INVALID and not found.systemd and _FINGER.fullmatch(path):
            return reader.fail(keys["systemd"][1], join(path, "systemd"), "is empty: give the FileDescriptorName=")
        return found if found is INVALID else InheritedSocket("systemd", found.systemd, found.proxies)
    if "address" in keys:
        found = reader.read_fields(node, AddressOptions, path)
        return found if found is INVALID else dataclasses.replace(found.address, proxies=found.proxies)
    return reader.read_fields(node, UnixAddress, path)
