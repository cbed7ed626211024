"""docs/metrics.md: the table is what the program tells, and the examples on the page are those of examples/."""

import re

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.helpers.daemons import EXAMPLES, ROOT
from tests.metrics.conftest import StartMetrics, start_metrics

__all__ = ["start_metrics"]  # a fixture

PAGE = (ROOT / "docs" / "metrics.md").read_text()
ROW = re.compile(r"^\| `(fingerd_\w+)` \| (\w+) \| ([`\w ]*?) ?\| (.+) \|$", re.MULTILINE)
DEMO = "backend: {type: static, users: {zoe: Reading}}\n"
ALERTS = yaml.safe_load((EXAMPLES / "fleet" / "alerts.yml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]


def families(page: str) -> dict[str, tuple[str, frozenset[str]]]:
    """The metrics of a page, as they are scraped: the names with their types and labels."""
    found = {}
    for family in text_string_to_metric_families(page):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = family.type, frozenset(labels)
    return found


def described() -> dict[str, tuple[str, frozenset[str]]]:
    return {name: (kind, frozenset(re.findall(r"\w+", labels))) for name, kind, labels, _ in ROW.findall(PAGE)}


def test_the_table_has_each_metric_with_its_type_and_labels_and_no_other(start_metrics: StartMetrics) -> None:
    found = families(start_metrics(DEMO).get("/metrics").text)
    assert len(found) == 19
    assert described() == found


def test_the_words_of_labels_are_on_the_page(start_metrics: StartMetrics) -> None:
    rows = {name: meaning for name, _, _, meaning in ROW.findall(PAGE)}
    for family in text_string_to_metric_families(start_metrics(DEMO).get("/metrics").text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label == "result" or (label, name) == ("outcome", "fingerd_forwards_total"):
                    assert f"`{value}`" in rows[name]


def test_the_page_quotes_the_balancer_s_recipe() -> None:
    (block,) = re.findall(r"^```haproxy\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    recipe = (EXAMPLES / "fleet" / "haproxy-health.cfg").read_text().splitlines()
    assert {*block.splitlines()} <= {*recipe}


def test_rules_and_questions_name_no_unknown_metric() -> None:
    known = set(described())
    texts = [rule["expr"] for rule in RULES] + re.findall(r"^```promql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    used = {name for text in texts for name in re.findall(r"\bfingerd_\w+", text)}
    assert {name.removesuffix("_bucket") for name in used} <= known
    assert len(used) > 10


def test_the_page_has_each_alert_and_no_other() -> None:
    rows = re.findall(r"^\| `(Fingerd\w+)` \|", PAGE, re.MULTILINE)
    assert rows == [rule["alert"] for rule in RULES]


def test_the_configuration_on_the_page_is_that_of_the_example() -> None:
    example = (EXAMPLES / "fleet" / "prometheus.yml").read_text()
    (block,) = re.findall(r"^```yml\n(scrape_configs:\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert block in example
    assert 'metrics: {listen: "127.0.0.1:9079"}' in example


def test_the_commands_on_the_page_print_what_it_shows(start_metrics: StartMetrics) -> None:
    daemon = start_metrics(DEMO)
    assert 'fingerd_queries_total{outcome="answered",proto="finger"} 0.0\n' in daemon.get("/metrics").text
    assert daemon.get("/healthz").text == "ok\n"
    shown = re.findall(r"^    \$ curl .*\n((?:    .+\n)*)", PAGE, re.MULTILINE)
    assert shown == ['    fingerd_queries_total{outcome="answered",proto="finger"} 0.0\n', "    ok\n", ""]
