"""The command `mailtopic relay check` and its options."""

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mailtopic_cli.relay.dns_check import Sending
    from mailtopic_cli.relay.sender_check import SenderCheck
    from mailtopic_runtime import Finding

PROGRAM = "mailtopic relay check"
_CONFIG = 2

app = typer.Typer(
    name="relay",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Find out whether the relays can be used, before any mail waits for them.",
)


@app.callback()
def _relay() -> None:
    """Find out whether the relays can be used, before any mail waits for them."""


@app.command("check")
def check_command(
    *,
    send_to: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Send one mail there, with the code 000000, by the first relay that can be used. "
            "No mail is sent without it.",
        ),
    ] = None,
    relay: Annotated[
        str | None, typer.Option(metavar="NAME", help="Check this one of several relays only.")
    ] = None,
    dkim_selector: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Look for this DKIM key of the From domain, too; may be given several times.",
        ),
    ] = None,
    dns_server: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS[:PORT]", help="Ask this resolver.", show_default="this machine's"
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Timeout in seconds for each relay.")
    ] = 60.0,
    dns_timeout: Annotated[
        float, typer.Option(min=0.1, max=60, help="Timeout in seconds for each DNS query.")
    ] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Open a session to each relay and log in, as a sender does; then look up the DNS records.

    It takes the settings of a sender from the environment (MAILTOPIC_SMTP__… or MAILTOPIC_RELAYS,
    MAILTOPIC_FROM__…, MAILTOPIC_DKIM__…, or MAIL_HOST and the other original names) and needs no
    Kafka. Each step is shown: addresses, connection, greeting, TLS and certificate, what the relay
    offers, login, and whether it takes the From address. In the DNS it looks for the From domain's
    SPF, DKIM, DMARC and MX records. Passwords and keys are never shown.

    The exit code is 0; 1 when a relay can't be used or a record must be mended; 2 for a wrong
    setting or option. In a cluster, where the sender's pod has the settings:

        kubectl exec deploy/SENDER -- mailtopic-sender check
    """
    from mailtopic_cli.adapters.resolver import Resolver  # noqa: PLC0415
    from mailtopic_cli.relay.sender_check import SenderCheck  # noqa: PLC0415
    from mailtopic_runtime import SettingError, run_program  # noqa: PLC0415

    if find_spec("mailtopic_sender") is None:
        _end(
            "the sender isn't installed here; run `mailtopic-sender check` where it is, or install "
            "mailtopic-cli[devstack]"
        )
    try:
        resolver = Resolver(dns_server, timeout_s=dns_timeout)
    except SettingError as error:
        _end(str(error))
    arguments = ["--timeout", str(timeout)]
    arguments += ["--send-to", send_to] if send_to is not None else []
    arguments += ["--relay", relay] if relay is not None else []
    sender = SenderCheck(arguments)
    selectors = dkim_selector or []

    async def run() -> int:
        from mailtopic_cli.relay.dns_check import check_dns  # noqa: PLC0415

        report = _Report(as_json=as_json)
        async for finding in sender.findings():
            report.add(finding)
        if not sender.summary:
            return sender.exit_code or 1
        for finding in await check_dns(_sending(sender, selectors), resolver):
            report.add(finding)
        return report.end()

    run_program(PROGRAM, run)


class _Report:
    """Shows findings as they arrive, or all of them at the end."""

    def __init__(self, *, as_json: bool) -> None:
        from mailtopic_runtime import FindingPrinter  # noqa: PLC0415

        self._as_json = as_json
        self._printer = FindingPrinter(typer.echo)
        self._findings: list[Finding] = []

    def add(self, finding: "Finding") -> None:
        self._findings.append(finding)
        if not self._as_json:
            self._printer.print(finding)

    def end(self) -> int:
        """Show the summary; return the exit code."""
        states = [each.state.value for each in self._findings]
        failed, warnings = states.count("failed"), states.count("warning")
        if self._as_json:
            findings = [each.document() for each in self._findings]
            typer.echo(json.dumps({"ok": not failed, "findings": findings}, indent=2))
        else:
            typer.echo(f"\n{failed} to mend, {warnings} to look at.")
        return 1 if failed else 0


def _sending(sender: "SenderCheck", selectors: list[str]) -> "Sending":
    from mailtopic_cli.relay.dns_check import Sending  # noqa: PLC0415

    summary = sender.summary
    return Sending(
        from_domain=summary["from_domain"],
        hosts=[relay["host"] for relay in summary["relays"]],
        dkim_domain=summary["dkim_domain"],
        dkim_keys={key["selector"]: key["public"] for key in summary["dkim_keys"]},
        selectors=selectors,
    )


def _end(problem: str) -> None:
    typer.echo(f"{PROGRAM}: {problem}", err=True)
    raise typer.Exit(_CONFIG)
