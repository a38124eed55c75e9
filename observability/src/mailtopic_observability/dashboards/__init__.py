"""Grafana dashboards, written as code: what `charts/mailtopic/files/dashboards` holds."""

from mailtopic_observability.dashboards.files import GENERATOR

__all__ = ["GENERATOR"]
