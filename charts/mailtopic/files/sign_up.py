# ruff: noqa: INP001 - it runs as a file, inside a pod
"""Sign up over HTTP, find the mail in the inbox, verify its code. Prints neither code nor address.

What `helm test` runs, with the standard library alone: the exit code is 0 only if all of it worked.
"""

import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

SIGNUP = os.environ["SIGNUP_URL"]
INBOX = os.environ["INBOX_URL"]
DEADLINE_S = time.monotonic() + float(os.environ["TIMEOUT_S"])
POLL_S = 0.5
REQUEST_TIMEOUT_S = 10
MAILS_LOOKED_AT = 200


class NotYetError(Exception):
    """A step didn't work; the next try may."""


def call(url: str, body: dict[str, str] | None = None) -> Any:
    """Return the JSON that a GET, or a POST of a body, is answered with.

    Raises:
        NotYetError: there is no answer, or it is an error.
    """
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - an http URL of the chart's
    try:
        with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as response:  # noqa: S310
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise NotYetError(f"the answer was {error.code}") from None
    except (OSError, ValueError) as error:
        raise NotYetError(f"no answer: {type(error).__name__}") from None


def find_code(address: str) -> str:
    """Return the code in the mail to an address.

    Raises:
        NotYetError: the mail isn't there.
    """
    listed = call(f"{INBOX}/api/v1/messages?limit={MAILS_LOOKED_AT}")["messages"]
    for mail in listed:
        if any(to["Address"] == address for to in mail["To"]):
            text = call(f"{INBOX}/api/v1/message/{mail['ID']}")["Text"]
            found = re.search(r"\b\d{6,10}\b", text)
            if found is None:
                raise NotYetError("the mail holds no code")
            return found[0]
    raise NotYetError("no mail came")


def until(what: str, step: Any) -> Any:
    """Return what a step returns when it works; ends the process when time is up."""
    started_s = time.monotonic()
    while True:
        try:
            result = step()
        except NotYetError as error:
            if time.monotonic() > DEADLINE_S:
                sys.exit(f"FAILED: {what}: {error}")
            time.sleep(POLL_S)
        else:
            sys.stdout.write(f"ok: {what} ({time.monotonic() - started_s:.1f} s)\n")
            return result


def main() -> None:
    """Run the steps in order."""
    address = f"helm-test-{uuid.uuid4().hex}@mailtopic.example"
    challenge = until(
        "signup was accepted",
        lambda: call(f"{SIGNUP}/v1/signups", {"email": address, "locale": "en"}),
    )["challenge_id"]
    code = until("the mail is in the inbox", lambda: find_code(address))
    verified = until(
        "the code was accepted",
        lambda: call(f"{SIGNUP}/v1/signups/{challenge}/verify", {"code": code}),
    )
    if verified.get("state") != "verified":
        sys.exit("FAILED: the address is not verified")


if __name__ == "__main__":
    main()
