"""Postfix of Debian, delivering to one Maildir."""

from collections.abc import Sequence

from support.mail_servers.namespace import VMAIL, Namespace
from support.mail_servers.server import DOMAIN, FORBIDDEN, IDN_DOMAIN, UNKNOWN, DebianServer

PLACES = """
compatibility_level = 3.6
config_directory = /etc/postfix
queue_directory = /srv/spool
data_directory = /srv/data
meta_directory = /etc/postfix
shlib_directory = /usr/lib/postfix
daemon_directory = /usr/lib/postfix/sbin
maillog_file = /srv/log/postfix
maillog_file_prefixes = /srv
mail_owner = postfix
setgid_group = postdrop
mydestination =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
"""
"""Where its files lie and it listens: nothing that changes how it delivers."""
_MAIN = """
myhostname = postfix.test
mynetworks =
smtpd_peername_lookup = no
smtpd_tls_security_level = encrypt
smtpd_tls_chain_files = /srv/key.pem
smtpd_tls_session_cache_database =
virtual_mailbox_domains = {domains}
virtual_mailbox_base = /srv
virtual_mailbox_maps = regexp:/etc/postfix/mailboxes
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{uid}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_reject_unlisted_recipient = yes
header_checks = regexp:/etc/postfix/headers
message_size_limit = {max_octets}
virtual_mailbox_limit = 0
smtpd_error_sleep_time = 0
in_flow_delay = 0
{more}
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
COMMAND = ("/usr/lib/postfix/sbin/master", "-s", "-c", "/etc/postfix")
_QUEUES = """
active bounce corrupt defer deferred flush hold incoming private saved trace
"""


class Postfix(DebianServer):
    """Refuses unknown recipients at RCPT and forbidden subjects after the dot."""

    name = "postfix"

    def configure(self) -> Sequence[str]:
        inside, limits = self.inside, self.limits
        more = []
        if limits.mails_per_minute is not None:
            more.append(f"smtpd_client_message_rate_limit = {limits.mails_per_minute}")
        if limits.connections_per_minute is not None:
            more.append(f"smtpd_client_connection_rate_limit = {limits.connections_per_minute}")
        if not limits.pipelining:
            more.append("smtpd_discard_ehlo_keywords = pipelining")
        if limits.max_connections is not None:
            more.append(f"smtpd_client_connection_count_limit = {limits.max_connections}")
        main = PLACES + _MAIN.format(
            domains=f"{DOMAIN}, {IDN_DOMAIN}",
            uid=VMAIL,
            max_octets=limits.max_octets,
            more="\n".join(more),
        )
        inside.etc_file("postfix/main.cf", main)
        inside.etc_file("postfix/master.cf", MASTER.format(port=self.port))
        inside.etc_file("postfix/mailboxes", f"!/^{UNKNOWN}/ mails/\n")
        inside.etc_file("postfix/headers", f"/^Subject: {FORBIDDEN}$/ REJECT 5.6.0 forbidden\n")
        inside.srv_file("key.pem", self.pem, mode=0o600)
        make_queues(inside)
        return COMMAND


def make_queues(inside: Namespace) -> None:
    """Make what the package's script makes: the server itself only checks it."""
    for name in ("log", "spool/pid"):
        (inside.srv / name).mkdir(parents=True)
    for name in ("data", *(f"spool/{queue}" for queue in _QUEUES.split())):
        inside.own_directory(name, "postfix")
    inside.own_directory("spool/public", "postfix", group="postdrop", mode=0o710)
    inside.own_directory("spool/maildrop", "postfix", group="postdrop", mode=0o730)
