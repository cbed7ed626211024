"""ldap3: a connection for each thread. ``attributes`` are separated by commas."""

import ldap3
from ldap3.utils.conv import escape_filter_chars

from bench.baselines import Connect, LookUp, format_record


def configure(threads: str, url: str, base: str, attributes: str) -> Connect:
    server = ldap3.Server(url, get_info=ldap3.NONE)
    wanted = attributes.split(",")

    def connect() -> LookUp:
        connection = ldap3.Connection(server, auto_bind=True, check_names=False)

        def look_up(user: str) -> str:
            connection.search(base, f"(uid={escape_filter_chars(user)})", attributes=wanted, size_limit=100)
            assert connection.response
            values = connection.response[0]["raw_attributes"]
            login, name, plan = (values[attribute][0].decode() for attribute in wanted)
            return format_record(login, name, plan)

        return look_up

    return connect
