"""Exim of Debian, delivering to one Maildir."""

from collections.abc import Sequence

from support.mail_servers.server import (
    DOMAIN,
    FORBIDDEN,
    IDN_DOMAIN,
    PASSWORD,
    UNKNOWN,
    USER,
    DebianServer,
)

_CONFIG = """
primary_hostname = exim.test
local_interfaces = 127.0.0.1.{port}
spool_directory = /srv/spool
log_file_path = /srv/log/%slog
host_lookup =
rfc1413_hosts =
tls_advertise_hosts = *
tls_certificate = /srv/key.pem
tls_privatekey = /srv/key.pem
smtp_accept_queue_per_connection = 0
message_size_limit = {max_octets}
acl_smtp_mail = mail
acl_smtp_rcpt = rcpt
acl_smtp_data = data
{more}

begin acl
mail:
  deny message = 5.7.0 Must issue a STARTTLS command first
       !encrypted = *
{login}
  accept
rcpt:
  deny message = 5.1.1 no such user
       local_parts = ^{unknown}
  accept domains = {domains}
  deny message = 5.7.1 relay not permitted
data:
  deny message = 5.6.0 forbidden
       condition = ${{if eq{{$h_subject:}}{{{forbidden}}}}}
  accept

begin routers
mailbox:
  driver = accept
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = /srv/mails
  maildir_format
  create_directory = false
  user = vmail
  group = vmail
  envelope_to_add
  return_path_add

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${{if and{{{{eq{{$auth2}}{{{user}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
  server_advertise_condition = ${{if def:tls_in_cipher}}
"""
_LOGIN = """
  deny message = 5.7.0 authentication required
       !authenticated = *
"""


class Exim(DebianServer):
    """Refuses unknown recipients at RCPT and forbidden subjects after the dot; knows `USER`."""

    name = "exim"

    def configure(self) -> Sequence[str]:
        inside, limits = self.inside, self.limits
        more = []
        if not limits.pipelining:
            more.append("pipelining_advertise_hosts =")
        if limits.max_connections is not None:
            more.append(f"smtp_accept_max = {limits.max_connections}")
        if limits.mails_per_connection is not None:
            more.append(f"smtp_accept_max_per_connection = {limits.mails_per_connection}")
        config = _CONFIG.format(
            port=self.port,
            domains=f"{DOMAIN} : {IDN_DOMAIN}",
            unknown=UNKNOWN,
            forbidden=FORBIDDEN,
            user=USER,
            password=PASSWORD,
            max_octets=limits.max_octets,
            login=_LOGIN if limits.needs_login else "",
            more="\n".join(more),
        )
        inside.etc_file("exim4/exim4.conf", config)
        inside.srv_file("key.pem", self.pem)
        for name in ("spool", "log"):
            inside.own_directory(name, "Debian-exim")
        return ("/usr/sbin/exim4", "-bdf", "-q1m")
