"""Generates what monitoring needs: the metrics guide, dashboards and rules.

A tool for use in a clone: it imports the members with the listed metrics, and is in no image.
"""
