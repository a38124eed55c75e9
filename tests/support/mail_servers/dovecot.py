"""Dovecot's submission service of Debian: it checks tokens at their server, and hands mails on.

It has no mailboxes: what it takes goes to a relay of the test's.
"""

from collections.abc import Sequence
from pathlib import Path

from support.mail_servers.namespace import VMAIL
from support.mail_servers.server import DebianServer, Limits
from support.oauth_server import OAuthServer

_MAIN = """
protocols = submission
listen = 127.0.0.1
base_dir = /run/dovecot
state_dir = /srv/state
log_path = /srv/log/dovecot
hostname = dovecot.test
default_internal_user = dovecot
default_internal_group = dovecot
default_login_user = dovenull
ssl = required
ssl_cert = </srv/key.pem
ssl_key = </srv/key.pem
auth_mechanisms = {mechanisms}
mail_location = maildir:/srv/mails
submission_relay_host = 127.0.0.1
submission_relay_port = {relay_port}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = /etc/dovecot/oauth2.conf.ext
}}
userdb {{
  driver = static
  args = uid={uid} gid={uid} home=/srv/mails
}}
service submission-login {{
  inet_listener submission {{
    port = {port}
  }}
}}
"""
_OAUTH = """
introspection_mode = post
introspection_url = {url}
tls_ca_cert_file = /srv/oauth-ca.pem
username_attribute = username
active_attribute = active
active_value = true
"""


class Dovecot(DebianServer):
    """Takes mails after a login with a good token."""

    name = "dovecot"

    def __init__(
        self,
        directory: Path,
        *,
        oauth: OAuthServer,
        oauth_ca: Path,
        relay_port: int,
        mechanism: str,
    ) -> None:
        self._oauth = oauth
        self._oauth_ca = oauth_ca.read_text()
        self._relay_port = relay_port
        self._mechanism = mechanism.lower()
        super().__init__(directory, Limits())

    def configure(self) -> Sequence[str]:
        inside = self.inside
        main = _MAIN.format(
            mechanisms=self._mechanism, relay_port=self._relay_port, port=self.port, uid=VMAIL
        )
        inside.etc_file("dovecot/dovecot.conf", main)
        url = self._oauth.introspection_url
        inside.etc_file("dovecot/oauth2.conf.ext", _OAUTH.format(url=url))
        inside.srv_file("key.pem", self.pem, mode=0o600)
        inside.srv_file("oauth-ca.pem", self._oauth_ca)
        for name in ("log", "state"):
            (inside.srv / name).mkdir()
        return ("/usr/sbin/dovecot", "-F", "-c", "/etc/dovecot/dovecot.conf")
