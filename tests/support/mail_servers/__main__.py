"""Fetch Debian's mail servers for the tests: ``python -m support.mail_servers``."""

from support.mail_servers.packages import fetch

if __name__ == "__main__":
    fetch()
