"""OpenSMTPD of Debian, delivering to one Maildir.

In the clear: that version can't do TLS with OpenSSL 3 (OpenSMTPD's issue 1171), and offers AUTH
over TLS only.
"""

from collections.abc import Sequence

from mailtopic_sender.adapters.smtp_settings import Security
from support.mail_servers.server import DOMAIN, IDN_DOMAIN, UNKNOWN, DebianServer

_CONFIG = """
table unknown {{ "{unknown}@{domain}" }}
table mailboxes {{ "@" = "vmail" }}
smtp max-message-size {max_octets}
{more}
listen on 127.0.0.1 port {port} hostname opensmtpd.test
action "store" maildir "/srv/mails" virtual <mailboxes>
match from any for domain {{ {domains} }} rcpt-to <unknown> reject
match from any for domain {{ {domains} }} action "store"
"""


class OpenSmtpd(DebianServer):
    """Refuses unknown recipients at RCPT. Offers neither PIPELINING nor SMTPUTF8."""

    name = "opensmtpd"
    security = Security.NONE

    def configure(self) -> Sequence[str]:
        inside, limits = self.inside, self.limits
        more = ""
        if limits.mails_per_connection is not None:
            more = f"smtp limit max-mails {limits.mails_per_connection}"
        config = _CONFIG.format(
            port=self.port,
            domain=DOMAIN,
            domains=f'"{DOMAIN}", "{IDN_DOMAIN}"',
            unknown=UNKNOWN,
            max_octets=limits.max_octets,
            more=more,
        )
        inside.etc_file("smtpd.conf", config)
        inside.etc_file("mailname", "opensmtpd.test\n")
        return ("/usr/sbin/smtpd", "-d")
