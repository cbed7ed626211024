"""requests: a session for each thread."""

from urllib.parse import quote

import requests

from bench.baselines import Connect, LookUp


def configure(threads: str, prefix: str) -> Connect:
    def connect() -> LookUp:
        session = requests.Session()
        session.trust_env = False  # as in fingerd: looking for proxies in the environment would cost every query

        def look_up(user: str) -> str:
            page = session.get(prefix + quote(user, safe=""), timeout=10)
            page.raise_for_status()
            return page.text

        return look_up

    return connect
