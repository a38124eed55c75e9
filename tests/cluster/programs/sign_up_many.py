"""Sign many addresses up from inside the cluster, then count the mails in the inbox.

Runs in a pod, on the standard library alone. It writes one line of JSON for each step: counts only,
never an address or a code.

It goes on until the file STOP_FILE is there, or MOST addresses have signed up.

Environment: SIGNUP_URL, INBOX_URL, PREFIX (of the addresses), MOST, CLIENTS, RATE_PER_S, STOP_FILE,
DELIVERY_TIMEOUT_S.
"""

import json
import os
import queue
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

ANSWER_TIMEOUT_S = 10
GIVE_UP_S = 180
RETRY_PAUSE_S = 0.2
PAGE = 1000


class Load:
    """What was asked for, and what came of it."""

    def __init__(self) -> None:
        self.signup_url = os.environ["SIGNUP_URL"]
        self.inbox_url = os.environ["INBOX_URL"]
        self.prefix, self.most = os.environ["PREFIX"], int(os.environ["MOST"])
        self.stop_file = Path(os.environ["STOP_FILE"])
        self.asked = 0
        self.pause_s = 1 / float(os.environ["RATE_PER_S"])
        self.answers: Counter[str] = Counter()
        self.accepted: set[str] = set()
        self.slowest_s = 0.0
        self._lock = threading.Lock()

    def run(self, clients: int) -> None:
        """Hand the addresses out at the rate; return when each was accepted or given up."""
        waiting: queue.Queue[str | None] = queue.Queue()
        threads = [threading.Thread(target=self._client, args=(waiting,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        while self.asked < self.most and not self.stop_file.exists():
            waiting.put(f"{self.prefix}-{self.asked}@example.com")
            self.asked += 1
            time.sleep(self.pause_s)
        for _ in threads:
            waiting.put(None)
        for thread in threads:
            thread.join()

    def _client(self, waiting: "queue.Queue[str | None]") -> None:
        while (address := waiting.get()) is not None:
            started_s = time.monotonic()
            while time.monotonic() - started_s < GIVE_UP_S:
                answer = self._ask(address)
                with self._lock:
                    self.answers[answer] += 1
                if answer == "202":
                    break
                time.sleep(RETRY_PAUSE_S)
            with self._lock:
                if answer == "202":
                    self.accepted.add(address)
                self.slowest_s = max(self.slowest_s, time.monotonic() - started_s)

    def _ask(self, address: str) -> str:
        request = urllib.request.Request(  # noqa: S310 - the URL is the test's
            f"{self.signup_url}/v1/signups",
            data=json.dumps({"email": address, "locale": "en"}).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as response:  # noqa: S310
                return str(response.status)
        except urllib.error.HTTPError as error:
            return str(error.code)
        except (OSError, ValueError) as error:
            return type(error).__name__

    def received(self) -> dict[str, list[float]]:
        """When the mails of each of the addresses came into the inbox, in Unix seconds."""
        found: dict[str, list[float]] = {}
        start = 0
        while True:
            page = self._messages(start)
            for mail in page:
                address = mail["To"][0]["Address"]
                if address in self.accepted:
                    came = datetime.fromisoformat(mail["Created"]).timestamp()
                    found.setdefault(address, []).append(came)
            start += len(page)
            if len(page) < PAGE:
                return found

    def _messages(self, start: int) -> list[dict[str, Any]]:
        url = f"{self.inbox_url}/api/v1/messages?start={start}&limit={PAGE}"
        with urllib.request.urlopen(url, timeout=ANSWER_TIMEOUT_S) as response:  # noqa: S310
            messages: list[dict[str, Any]] = json.load(response)["messages"]
            return messages


def main() -> None:
    """Run the load; the last line holds the counts."""
    load = Load()
    say(step="started")
    load.run(int(os.environ["CLIENTS"]))
    say(step="signed_up", asked=load.asked, accepted=len(load.accepted))
    deadline_s = time.monotonic() + float(os.environ["DELIVERY_TIMEOUT_S"])
    while len(received := _received_or_none(load)) < len(load.accepted):
        if time.monotonic() > deadline_s:
            break
        time.sleep(1)
    say(
        step="done",
        asked=load.asked,
        accepted=len(load.accepted),
        lost=len(load.accepted) - len(received),
        twice=sum(1 for times in received.values() if len(times) > 1),
        answers=dict(load.answers),
        slowest_s=round(load.slowest_s, 1),
        longest_pause_s=round(longest_pause_s(received), 1),
    )


def longest_pause_s(received: dict[str, list[float]]) -> float:
    """Return the longest time in which no mail came, between the first and the last one."""
    times = sorted(time for times in received.values() for time in times)
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)


def _received_or_none(load: Load) -> dict[str, list[float]]:
    # The inbox may be the pod that was killed just now.
    try:
        return load.received()
    except (OSError, ValueError):
        return {}


def say(**facts: Any) -> None:
    """Write one line of JSON at once."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
