"""The Grafana board, the alert rules and the page of the metrics name metrics and labels that exist."""

import json
import re
from pathlib import Path

import promql_parser
import pytest
import yaml
from documented_metrics import documented_metrics
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from api.http.metrics import Metrics
from deployments.warm_worker.metrics import _WorkerCollector
from deployments.warm_worker.run_metrics import RunMetrics

ROOT = Path(__file__).resolve().parents[2]
ALERTS = yaml.safe_load((ROOT / "deployments/prometheus/alerts.yaml").read_text())
BOARD = json.loads((ROOT / "deployments/grafana/musetalk.json").read_text())
SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
SCRAPED = {"job", "instance"}
"""Labels that Prometheus adds."""


def exposed():
    """The labels of each series name that a process of this project serves."""
    worker = CollectorRegistry()
    RunMetrics(worker)
    worker.register(_WorkerCollector())
    names = {}
    for registry in (Metrics().registry, worker):
        labelled = {
            metric._name: set(metric._labelnames)
            for metric in registry._collector_to_names
            if hasattr(metric, "_labelnames")
        }
        for family in registry.collect():
            labels = labelled.get(family.name)
            if labels is None:
                labels = set(getattr(family, "_labelnames", ()))
            for suffix in SUFFIXES[family.type]:
                names[family.name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return names


def rules():
    return [rule for group in ALERTS["groups"] for rule in group["rules"]]


def queries():
    """Every PromQL expression that is committed, with where it is from."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]


def parts(node):
    """The nodes of a parsed expression."""
    yield node
    for name in ("lhs", "rhs", "expr", "param", "vector_selector", "vs"):
        child = getattr(node, name, None)
        if child is not None and not callable(child) and not isinstance(child, str | float | int):
            yield from parts(child)
    args = getattr(node, "args", None)
    for child in args if isinstance(args, list) else ():
        yield from parts(child)


def selectors(expression):
    return [
        node
        for node in parts(promql_parser.parse(expression))
        if isinstance(node, promql_parser.VectorSelector)
    ]


def grouping(expression):
    """The labels that an expression groups by."""
    return {label for text in re.findall(r"\bby \(([^)]*)\)", expression) for label in text.split(", ")}


def test_the_parser_finds_every_metric_of_an_expression():
    text = 'histogram_quantile(0.9, sum by (le) (rate(a_bucket{x="1"}[5m]))) > 2 * max(b) and absent(c) or d'
    assert {one.name for one in selectors(text)} == {"a_bucket", "b", "c", "d"}
    with pytest.raises(ValueError):
        promql_parser.parse("sum by (pool (x)")


def test_every_query_names_metrics_and_labels_that_exist():
    names, wrong, count = exposed(), [], 0
    for place, expression in queries():
        found = selectors(expression)
        assert found, place
        known = set(SCRAPED)
        for one in found:
            count += 1
            if one.name not in names:
                wrong.append(f"{place}: {one.name}")
                continue
            known |= names[one.name]
            labels = {matcher.name for matcher in one.matchers.matchers}
            wrong += [f"{place}: {one.name} has no label {label}" for label in labels - names[one.name]]
        wrong += [f"{place}: no metric has {label}" for label in grouping(expression) - known]
    assert wrong == [] and count > 45


def test_the_board_shows_every_metric():
    shown = {one.name for _, expression in queries() for one in selectors(expression)}
    families = {re.sub("_(total|bucket|sum|count)$", "", name) for name in exposed()}
    assert families - {re.sub("_(total|bucket|sum|count)$", "", name) for name in shown} == set()


def test_alerts_are_complete_and_say_what_to_do():
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) >= 12
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"]["summary"] and rule["annotations"]["action"].endswith(".")
        # labels in the text are those that the expression keeps
        used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert used <= grouping(rule["expr"]), rule["alert"]


def test_panels_have_places_of_their_own():
    places = [tuple(panel["gridPos"].values()) for panel in BOARD["panels"]]
    assert len(set(places)) == len(places) and len({panel["id"] for panel in BOARD["panels"]}) == len(places)
    assert all(place[1] + place[2] <= 24 for place in places)


def test_the_scrape_configuration_reads_the_rules():
    scrape = yaml.safe_load((ROOT / "deployments/prometheus/prometheus.yaml").read_text())
    assert scrape["rule_files"] == ["alerts.yaml"]
    targets = [job["static_configs"][0]["targets"] for job in scrape["scrape_configs"]]
    ports = {target.rpartition(":")[2] for listed in targets for target in listed}
    manifests = "".join(path.read_text() for path in (ROOT / "deployments/kubernetes").rglob("*.yaml"))
    assert {"8080", "9100"} <= ports and 'prometheus.io/port: "9100"' in manifests


def test_documented_and_exposed_metrics_are_equal_with_their_labels():
    documented = documented_metrics()
    found = {}
    for name, labels in exposed().items():
        if name.endswith(("_sum", "_count")):
            continue
        found[name.removesuffix("_bucket")] = labels - {"le"}
    assert documented == found


def test_the_number_of_series_is_bounded():
    registry = CollectorRegistry()
    RunMetrics(registry)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    assert sum(len(family.samples) for family in families) < 100
