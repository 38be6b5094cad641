"""What dashboards and alerts ask of RabbitMQ is what its Prometheus plugin shows."""

from __future__ import annotations

import re
import urllib.request
from urllib.parse import urlencode

import yaml

from support.broker import Broker
from support.promql import OF_RABBITMQ, PROMETHEUS
from support.waiting import wait_until
from tasuki.broker.topology import topology


def shown(broker: Broker) -> set[str]:
    """The names on the pages that prometheus.yml reads of a broker."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    jobs = [job for job in config["scrape_configs"] if job["job_name"].startswith("rabbitmq")]
    names: set[str] = set()
    for job in jobs:
        path = job.get("metrics_path", "/metrics")
        query = urlencode(job.get("params", {}), doseq=True)
        url = f"http://{broker.host}:{broker.prometheus_port}{path}?{query}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            names |= set(re.findall(r"^(\w+)", answer.read().decode(), re.MULTILINE))
    return names


def test_the_broker_shows_what_dashboards_and_alerts_ask_of_it(broker: Broker, vhost: str) -> None:
    broker.provision(vhost, topology(["site-1"]))

    # A queue's numbers come with the next statistics.
    wait_until(lambda: shown(broker) >= OF_RABBITMQ, what=f"all of {sorted(OF_RABBITMQ)} shown")
