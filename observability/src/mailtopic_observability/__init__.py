"""Generates what monitoring needs: the metrics guide, dashboards and rules.

A tool of the clone: it imports the members whose metrics it lists, and is in no image.
"""
