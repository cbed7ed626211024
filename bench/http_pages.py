"""What a page by HTTP costs, beside Finger and other web servers: ``python -m bench --http``."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import zip_longest

from bench import peers
from bench.contenders import NOT_REMEMBERED, SHIPPED, Contender, available, ours, run_directory
from bench.load import Run, forget_closed_connections, measure, planned_queries
from bench.peers import ROOT, SOURCE, UnavailableError
from bench.people import NAME, PLAN
from bench.report import COLUMNS, cell, log_progress, log_run, origin, table, targets_table, write_above_hand_part
from bench.servers import ask, running
from bench.targets import Runs, Target, cpu, lost, rate, ratio

RESULTS = SOURCE / "HTTP.md"
CLIENTS = 50
LOGIN, TITLE = "alice", "People"
FINGER, TEXT, PAGE, HEADS = "Finger", "text", "page", "page, other headers each time"
FINGER_MADE, PAGE_MADE = "Finger, not remembered", "page, not remembered"
NGINX, FLASK = "nginx, a file", "Flask on waitress"
QUERIES = {FINGER_MADE: 12_000, PAGE_MADE: 5_000, FLASK: 3_000}  # of a run; all others are FAST
FAST = 20_000
DISTINCT_HEADS = 100_000

CHANGED = re.compile('<time datetime="([^"]*)">([^<]*)</time>')
MAX_CPU = 2.5  # of a Finger answer's

HEADER = "Host: localhost\r\nUser-Agent: curl/7.88.1\r\nAccept: text/html\r\nConnection: close\r\n"
BACKEND = f"{{type: static, users: {{{LOGIN}: {{name: {NAME}, plan: {json.dumps(PLAN)}}}}}}}"
WITH_HTTP = f"http: {{{{listen: '127.0.0.1:{{port}}', title: {TITLE}}}}}\n"
NGINX_CONFIG = """\
daemon off; master_process off; pid {base}.pid; error_log {base}.errors;
events {{ worker_connections 4096; }}
http {{
  sendfile on; tcp_nopush on; access_log {base}.log; default_type "text/html; charset=utf-8";
  client_body_temp_path {base}.body; proxy_temp_path {base}.proxy; fastcgi_temp_path {base}.fastcgi;
  uwsgi_temp_path {base}.uwsgi; scgi_temp_path {base}.scgi;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {root}; }}
}}
"""

DOCUMENT = """\
# What a page by HTTP costs

Written by `make bench`, {origin}. {versions}.

{clients} clients at a time ask for one person, who has a name and a plan of ten lines, each request on a connection of
its own. The page has {size:,} bytes beside its header. The figures are medians of {rounds} rounds; in each round the
servers take turns in another order, each as a fresh process. A ratio is computed within each round, and the median of
these is shown, in brackets: to Finger's figure, then to that of Flask.

- Finger, text, page: fingerd as shipped, with its log, limits and policy, with this person in the configuration: asked
  by Finger, for `/~alice/text` and for `/~alice`. The answers are remembered. With other headers each time, no two
  requests are the same; in the other rows of HTTP all are.
- Not remembered: a header with the client's address keeps the answers from being remembered, so that each is made anew.
- nginx: one process of Debian's, with its access log, and a file with the same page.
- Flask on waitress: the same page, by the same templates; threads as waitress has them by default. It has no log.
{missing}
"""


def main(rounds: int, scale: float, write: bool) -> int:
    """Measure, print, and with ``write`` write the page; 1 if an answer was lost."""
    page = _page_of(_ours(PAGE))
    contenders, missing = _contenders(page)
    for message in missing:
        log_progress(message)
    runs = _measure(contenders, rounds, scale)
    head = DOCUMENT.format(
        origin=origin(),
        versions=", ".join(dict.fromkeys(contender.version for contender in contenders)),
        clients=CLIENTS,
        size=len(page),
        rounds=rounds,
        missing="".join(f"\n{message}\n" for message in missing),
    )
    report = f"{head}{_table(contenders, runs)}\n{targets_table(targets(runs))}"
    print(report)
    if write:
        write_above_hand_part(RESULTS, report)
    return 1 if lost(runs, ()) else 0


def _measure(contenders: Sequence[Contender], rounds: int, scale: float) -> Runs:
    """The runs of every server. Each round begins with another one."""
    runs: dict[tuple[int, str], list[Run]] = defaultdict(list)
    for number in range(rounds):
        first = number % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            forget_closed_connections(planned_queries(contender, CLIENTS, scale))
            run = measure(contender, CLIENTS, scale)
            runs[CLIENTS, contender.name].append(run)
            log_run(f"round {number + 1} of {rounds}, {contender.name}", run)
    return dict(runs)


def _contenders(page: bytes) -> tuple[list[Contender], list[str]]:
    """The servers that are available here, and a message for each that is not."""
    makers: dict[str, Callable[[], Contender]] = {
        FINGER: lambda: replace(ours(FINGER, SHIPPED, BACKEND), query=LOGIN),
        TEXT: lambda: replace(_ours(TEXT), query=_request(f"/~{LOGIN}/text")),
        PAGE: lambda: _ours(PAGE),
        HEADS: lambda: replace(_ours(HEADS), query=f"{_request()}X-Request: %d\r\n", names=DISTINCT_HEADS),
        FINGER_MADE: lambda: replace(ours(FINGER_MADE, SHIPPED + NOT_REMEMBERED, BACKEND), query=LOGIN),
        PAGE_MADE: lambda: _ours(PAGE_MADE, NOT_REMEMBERED),
        NGINX: lambda: _nginx(page),
        FLASK: lambda: _flask(page),
    }
    made, missing = available(makers)
    return [replace(each, queries={CLIENTS: QUERIES.get(each.name, FAST)}, expect=NAME) for each in made], missing


def _request(path: str = f"/~{LOGIN}") -> str:
    """The head of a request but for the empty line at its end, which the load generator sends."""
    return f"GET {path} HTTP/1.1\r\n{HEADER}"


def _ours(name: str, more: str = "") -> Contender:
    """fingerd, asked for the page by HTTP."""
    finger = f"unix:{run_directory() / name.replace(' ', '-')}.sock"
    return replace(ours(name, SHIPPED + WITH_HTTP + more, BACKEND, listen=finger), query=_request(), expect=NAME)


def _nginx(page: bytes) -> Contender:
    program, version = peers.nginx()
    base = run_directory() / "nginx"
    base.mkdir(exist_ok=True)
    (base / f"~{LOGIN}").write_bytes(page)

    def command(port: int) -> Sequence[str]:
        base.with_suffix(".conf").write_text(NGINX_CONFIG.format(base=base, root=base, port=port))
        return str(program), "-c", str(base.with_suffix(".conf"))

    return _checked(Contender(NGINX, command, {}, version, query=_request(), expect=NAME), page)


def _flask(page: bytes) -> Contender:
    python, version = peers.flask()
    script, templates = str(SOURCE / "flask_server.py"), str(ROOT / "fingerd" / "http" / "templates")
    if (changed := CHANGED.search(page.decode())) is None:
        raise UnavailableError("our page does not say when the plan was changed")
    people = json.dumps({LOGIN: {"name": NAME, "plan": PLAN.strip(), "changed": changed.groups()}})

    def command(port: int) -> Sequence[str]:
        return str(python), script, str(port), templates, TITLE, people

    return _checked(Contender(FLASK, command, {}, version, query=_request(), expect=NAME), page)


def _checked(contender: Contender, page: bytes) -> Contender:
    """The same server. Raises UnavailableError if its page is another one than ours."""
    its_lines, our_lines = _page_of(contender).splitlines(keepends=True), page.splitlines(keepends=True)
    for its, our in zip_longest(its_lines, our_lines, fillvalue=b""):
        if its != our:
            raise UnavailableError(f"its page is not the same: it has {its!r} instead of {our!r}")
    return contender


def _page_of(contender: Contender) -> bytes:
    with running(contender) as server:
        return ask(server.port, contender.query).partition(b"\r\n\r\n")[2]


def targets(runs: Runs) -> list[Target]:
    """The targets of pages by HTTP."""
    return [
        *(
            Target(f"{name}: queries a second, to Flask's", ">", 1, ratio(runs, CLIENTS, rate, name, FLASK))
            for name in (TEXT, PAGE, HEADS, PAGE_MADE)
        ),
        *(
            Target(f"{name}: CPU per request, to Finger's", "≤", MAX_CPU, ratio(runs, CLIENTS, cpu, name, FINGER))
            for name in (TEXT, PAGE, HEADS)
        ),
        Target("lost or wrong answers in all runs", "≤", 0, lost(runs, ())),
    ]


def _table(contenders: Sequence[Contender], runs: Runs) -> str:
    rows = []
    for contender in contenders:
        name = contender.name
        cells = [cell(runs, CLIENTS, name, figure, form, (FINGER, FLASK)) for _, figure, form in COLUMNS]
        rows.append((name, *cells, f"{sum(run.lost for run in runs[CLIENTS, name]):,}"))
    return table(("server", *(name for name, *_ in COLUMNS), "lost"), rows)
