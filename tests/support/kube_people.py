"""Users that sign up at a release and enter their codes, at a given rate."""

import re
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx

from support.kube_release import Release

_READ_S = 3.0


class People:
    """Sign up all the time; two of three enter their code, and one of ten guesses first.

    ``with People(release, rate_per_s=3)`` lets them; what they met is in `problems`.
    """

    def __init__(self, release: Release, *, rate_per_s: Callable[[], float]) -> None:
        self._release = release
        self._rate_per_s = rate_per_s
        self._end = threading.Event()
        self._waiting: dict[str, tuple[int, str]] = {}
        self._thread = threading.Thread(target=self._run)
        self.problems: list[str] = []
        self.signed_up = 0
        self.verified = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join(60)

    def _run(self) -> None:
        name = self._release.name
        with (
            self._release.forwarded(f"{name}-signup", 8080) as signup,
            httpx.Client(timeout=30) as http,
        ):
            read_at = 0.0
            while not self._end.wait(1 / self._rate_per_s()):
                self._try(self._sign_up, http, signup)
                if time.monotonic() > read_at + _READ_S:
                    self._try(self._use_codes, http, signup)
                    read_at = time.monotonic()

    def _try(self, what: Callable[[httpx.Client, str], None], http: httpx.Client, url: str) -> None:
        try:
            what(http, url)
        except (httpx.HTTPError, AssertionError) as error:  # the pod behind it is away
            self.problems.append(str(error))

    def _sign_up(self, http: httpx.Client, url: str) -> None:
        number = self.signed_up
        address = f"person{number}@example.com"
        answer = http.post(f"{url}/v1/signups", json={"email": address, "locale": "en"})
        answer.raise_for_status()
        self.signed_up += 1
        if number % 3 != 2:
            self._waiting[address] = (number, str(answer.json()["challenge_id"]))

    def _use_codes(self, http: httpx.Client, url: str) -> None:
        name = self._release.name
        with self._release.forwarded(f"{name}-inbox", 8025) as inbox:
            mails = http.get(f"{inbox}/api/v1/messages", params={"limit": 60}).json()["messages"]
            for mail in mails:
                waiting = self._waiting.pop(mail["To"][0]["Address"], None)
                if waiting is not None:
                    text = http.get(f"{inbox}/api/v1/message/{mail['ID']}").json()["Text"]
                    self._verify(http, url, *waiting, text)

    def _verify(self, http: httpx.Client, url: str, number: int, challenge: str, text: str) -> None:
        verify = f"{url}/v1/signups/{challenge}/verify"
        (code,) = re.findall(r"\b[0-9]{6}\b", text)
        if number % 10 == 0:
            http.post(verify, json={"code": "000000" if code != "000000" else "000001"})
        answer: Any = http.post(verify, json={"code": code}).json()
        self.verified += answer.get("state") == "verified"
