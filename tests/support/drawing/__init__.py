"""Draws dashboards from their committed JSON and a Prometheus' answers, as pages for Chromium."""
