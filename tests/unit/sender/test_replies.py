"""What relays and providers really say, and what it has to mean."""

import pytest

from mailtopic_sender.domain.replies import SESSION_PHASES, ReplyClass, classify
from mailtopic_sender.domain.reply_text import parse_retry_hint, redact, split_enhanced

C = ReplyClass

GMAIL = [
    (421, "4.7.0", "body", "detected an unusual rate of unsolicited mail", C.THROTTLED),
    (421, "4.7.28", "body", "detected an unusual rate of mail from your IP", C.THROTTLED),
    (421, "4.7.26", "body", "This mail has been rate limited: unauthenticated", C.THROTTLED),
    (421, "4.3.0", "mail", "Temporary System Problem.  Try again later", C.CLOSING),
    (450, "4.2.1", "rcpt", "The user is receiving mail at a rate that prevents more", C.GREYLISTED),
    (452, "4.2.2", "rcpt", "The recipient's inbox is out of storage space.", C.MAILBOX_FULL),
    (552, "5.2.2", "rcpt", "The account you tried to reach is over quota.", C.MAILBOX_FULL),
    (550, "5.1.1", "rcpt", "The email account you tried to reach does not exist.", C.HARD_BOUNCE),
    (550, "5.2.1", "rcpt", "The email account you tried to reach is disabled.", C.HARD_BOUNCE),
    (550, "5.7.26", "body", "This message fails to pass DMARC evaluation.", C.REPUTATION),
    (550, "5.7.25", "body", "The sending IP does not have a PTR record setup.", C.REPUTATION),
    (550, "5.7.1", "body", "this message is likely unsolicited mail.", C.REPUTATION),
    (552, "5.7.0", "body", "blocked because its content presents a security issue", C.CONTENT),
    (550, "5.4.5", "data", "Daily user sending limit exceeded.", C.QUOTA),
    (530, "5.5.1", "mail", "Authentication Required.", C.AUTH),
    (535, "5.7.8", "auth", "Username and Password not accepted.", C.AUTH),
    (534, "5.7.9", "auth", "Application-specific password required.", C.AUTH),
    (530, "5.7.0", "mail", "Must issue a STARTTLS command first.", C.POLICY),
    (452, "4.5.3", "rcpt", "Your message has exceeded the limit of recipients", C.TRANSIENT),
    (501, "5.5.4", "ehlo", "HELO/EHLO argument is invalid", C.BLOCKED),
    (555, "5.5.2", "mail", "Syntax error.", C.PROTOCOL),
]  # fmt: skip

MICROSOFT = [
    (550, "5.5.0", "rcpt", "Requested action not taken: mailbox unavailable", C.HARD_BOUNCE),
    (550, "5.4.1", "rcpt", "Recipient address rejected: Access denied.", C.HARD_BOUNCE),
    (550, "5.1.10", "rcpt", "RESOLVER.ADR.RecipientNotFound; not found", C.HARD_BOUNCE),
    (550, "5.7.515", "body", "sending domain doesn't meet the authentication level", C.REPUTATION),
    (550, "5.7.606", "rcpt", "Access denied, banned sending IP", C.REPUTATION),
    (451, "4.7.500", "rcpt", "Server busy. Please try again later", C.THROTTLED),
    (451, "4.7.652", "rcpt", "has exceeded the maximum number of connections", C.THROTTLED),
    (432, "4.3.2", "mail", "STOREDRV.ClientSubmit; sender thread limit exceeded", C.THROTTLED),
    (432, "4.3.2", "mail", "Concurrent connections limit exceeded.", C.THROTTLED),
    (421, None, "connect", "RP-001 The mail server IP has exceeded the rate limit", C.TRANSPORT),
    (530, "5.7.57", "mail", "Client not authenticated to send mail.", C.AUTH),
    (535, "5.7.139", "auth", "SmtpClientAuthentication is disabled for the Tenant.", C.AUTH),
    (550, "5.7.60", "body", "Client does not have permissions to send as this sender", C.SENDER),
    (550, "5.1.90", "body", "You've reached your daily limit for message recipients", C.QUOTA),
    (550, "5.1.8", "body", "Access denied, bad outbound sender", C.SENDER),
    (550, "5.7.1", "rcpt", "part of their network is on our block list (S3140).", C.REPUTATION),
    (554, "5.2.2", "body", "mailbox full", C.MAILBOX_FULL),
    (550, "5.7.133", "rcpt", "sender not authenticated for group", C.HARD_BOUNCE),
]  # fmt: skip

YAHOO = [
    (421, "4.7.0", "mail", "[TSS04] Messages deferred due to unexpected volume", C.THROTTLED),
    (451, None, "mail", "4.7.0 [TSS09] messages deferred", C.THROTTLED),
    (554, None, "rcpt", "dd This user doesn't have a yahoo.com account", C.HARD_BOUNCE),
    (554, None, "rcpt", "delivery error: dd Not a valid recipient: user unknown", C.HARD_BOUNCE),
    (552, "1.0.0", "rcpt", "mailbox for this user is full", C.MAILBOX_FULL),
    (553, "5.7.2", "mail", "[TSS09] All messages will be permanently deferred", C.SENDER),
]  # fmt: skip

SES = [
    (454, None, "rcpt", "Throttling failure: Maximum sending rate exceeded.", C.THROTTLED),
    (454, None, "rcpt", "Throttling failure: Daily message quota exceeded.", C.QUOTA),
    (454, None, "auth", "Throttling failure: Daily message quota exceeded.", C.QUOTA),
    (454, None, "auth", "Temporary authentication failure", C.TRANSPORT),
    (554, None, "body", "Message rejected: Email address is not verified.", C.SENDER),
    (535, None, "auth", "Authentication Credentials Invalid", C.AUTH),
    (530, None, "mail", "Authentication required", C.AUTH),
    (421, "4.4.2", "mail", "Timeout waiting for data from client.", C.CLOSING),
    (451, "4.4.2", "mail", "Timeout waiting for data from client.", C.CLOSING),
    (552, "5.3.4", "body", "Message is too long.", C.CONTENT),
]  # fmt: skip

POSTFIX_AND_OTHERS = [
    (450, "4.2.0", "rcpt", "Recipient address rejected: Greylisted, see help", C.GREYLISTED),
    (451, "4.7.1", "rcpt", "Greylisting in action, please come back in 00:04:59", C.GREYLISTED),
    (450, "4.7.1", "rcpt", "Client host rejected: cannot find your hostname", C.GREYLISTED),
    (451, None, "rcpt", "Graylisted, please retry", C.GREYLISTED),
    (450, "4.1.1", "rcpt", "Recipient address rejected: unverified address", C.TRANSIENT),
    (450, "4.1.2", "rcpt", "Recipient address rejected: Domain not found", C.TRANSIENT),
    (451, "4.3.0", "body", "queue file write error", C.TRANSIENT),
    (452, "4.3.1", "mail", "Insufficient system storage", C.TRANSIENT),
    (452, None, "rcpt", "Mailbox full", C.MAILBOX_FULL),
    (421, "4.3.2", "mail", "Service shutting down", C.CLOSING),
    (421, "4.7.0", "mail", "Error: too many errors", C.THROTTLED),
    (450, "4.7.1", "rcpt", "Error: too much mail: rate limit exceeded", C.THROTTLED),
    (550, "5.1.1", "rcpt", "rejected: User unknown in local recipient table", C.HARD_BOUNCE),
    (450, "5.1.1", "rcpt", "User unknown (soft_bounce = yes)", C.TRANSIENT),
    (550, None, "rcpt", "No such user here", C.HARD_BOUNCE),
    (550, None, "rcpt", "rejected", C.HARD_BOUNCE),
    (550, None, "mail", "sender rejected", C.SENDER),
    (550, None, "body", "Administrative prohibition", C.REPUTATION),
    (551, None, "rcpt", "User not local", C.HARD_BOUNCE),
    (553, "5.1.3", "rcpt", "bad recipient syntax", C.HARD_BOUNCE),
    (556, "5.1.10", "rcpt", "Domain accepts no mail", C.HARD_BOUNCE),
    (525, "5.7.13", "rcpt", "User account disabled", C.HARD_BOUNCE),
    (553, "5.1.7", "mail", "bad sender", C.SENDER),
    (553, "5.6.7", "rcpt", "SMTPUTF8 is required", C.CONTENT),
    (554, "5.6.0", "body", "bad MIME", C.CONTENT),
    (554, "5.7.1", "rcpt", "blocked using zen.spamhaus.org", C.REPUTATION),
    (554, "5.7.1", "rcpt", "Relay access denied", C.AUTH),
    (454, "4.7.1", "rcpt", "Relay access denied", C.AUTH),
    (550, "5.7.54", "rcpt", "SMTP; Unable to relay recipient in non-accepted domain", C.AUTH),
    (503, "5.5.1", "data", "need RCPT", C.PROTOCOL),
    (500, None, "mail", "unknown command", C.PROTOCOL),
    (523, "5.7.10", "auth", "encryption needed", C.AUTH),
    (523, "5.7.10", "mail", "encryption needed", C.POLICY),
    (538, "5.7.11", "mail", "Encryption required for requested authentication", C.POLICY),
    (454, "4.7.0", "tls", "TLS not available due to local problem", C.TRANSPORT),
    (502, "5.5.1", "tls", "command not implemented", C.POLICY),
    (554, None, "connect", "no SMTP service here", C.TRANSPORT),
    (421, None, "connect", "too many connections from your host", C.TRANSPORT),
    (599, None, "rcpt", "", C.HARD_BOUNCE),
    (499, None, "rcpt", "", C.TRANSIENT),
    (250, "2.0.0", "body", "queued", C.ACCEPTED),
    (354, None, "body", "go on", C.PROTOCOL),
    (250, "2.0.0", "data", "fine", C.PROTOCOL),
    (199, None, "body", "", C.PROTOCOL),
    (999, None, "body", "", C.PROTOCOL),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "enhanced", "phase", "text", "expected"),
    [*GMAIL, *MICROSOFT, *YAHOO, *SES, *POSTFIX_AND_OTHERS],
)
def test_a_reply_means_what_its_sender_meant(
    code: int, enhanced: str | None, phase: str, text: str, expected: ReplyClass
) -> None:
    assert classify(code, enhanced, phase, text) is expected


def test_relay_denied_is_about_the_account_once_we_are_logged_in() -> None:
    text = "Relay access denied"
    assert classify(554, "5.7.1", "rcpt", text, logged_in=True) is C.SENDER
    assert classify(454, "4.7.1", "rcpt", text, logged_in=True) is C.TRANSIENT
    assert classify(530, "5.7.0", "rcpt", text, logged_in=True) is C.AUTH


@pytest.mark.parametrize("phase", sorted(SESSION_PHASES))
def test_no_mail_is_blamed_before_one_was_offered(phase: str) -> None:
    assert all(classify(code, None, phase, "").blames_relay for code in range(400, 600))


@pytest.mark.parametrize("enhanced", [None, "4.0.0", "4.1.1", "4.2.2", "4.7.1", "5.1.1", "5.6.0"])
def test_a_passing_refusal_never_ends_a_mail(enhanced: str | None) -> None:
    assert all(classify(code, enhanced, "rcpt", "").retryable for code in range(400, 500))


def test_every_class_has_one_fate() -> None:
    for reply_class in ReplyClass:
        assert not (reply_class.bounces and reply_class.retryable)
        assert reply_class.retryable or not reply_class.blames_relay


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Greylisted, please try again in 300 seconds", 300),
        ("try again in 5 minutes", 300),
        ("Please wait 90s before retrying", 90),
        ("come back in 00:04:59", 299),
        ("retry after 1 hour", 3600),
        ("greylisted for 1 min.", 60),
        ("retry in 999999 hours", 86_400),
        ("try again later", None),
        ("in 0 seconds", None),
        ("blocked since 24 hours", None),
        ("code 5 s", None),
    ],
)
def test_a_pause_is_read_from_the_text(text: str, seconds: float | None) -> None:
    assert parse_retry_hint(text) == seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4.7.1 later", ("4.7.1", "later")),
        ("5.1.10", ("5.1.10", "")),
        ("4.7.1-later", (None, "4.7.1-later")),
        ("10.0.0.1 blocked", (None, "10.0.0.1 blocked")),
        ("3.1.1 x", (None, "3.1.1 x")),
    ],
)
def test_the_enhanced_code_is_split_off(text: str, expected: tuple[str | None, str]) -> None:
    assert split_enhanced(text) == expected


def test_a_quoted_reply_shows_neither_address_nor_code() -> None:
    said = '<"bob smith"@example.com>: unknown; bob@пример.рф, RCPT:eve@a.b; 123456 or 12-34 56\x07'
    quoted = redact(said)
    for secret in ("bob", "eve", "example", "123456", "12-34", "34 56", "\x07"):
        assert secret not in quoted
    assert quoted.isascii()
    assert len(redact("x" * 9999)) == 200
