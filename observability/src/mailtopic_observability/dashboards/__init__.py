"""Grafana dashboards as code: the content of `charts/mailtopic/files/dashboards`."""

from mailtopic_observability.dashboards.files import GENERATOR

__all__ = ["GENERATOR"]
