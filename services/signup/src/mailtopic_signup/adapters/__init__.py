"""Adapters of the service's ports: the SQL database and the status topic."""
