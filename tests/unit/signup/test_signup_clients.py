"""Who a client is, and how much it may ask for."""

from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtopic_runtime import ManualClock
from mailtopic_signup.client_address import client_of
from mailtopic_signup.settings import ClientsSettings, SignupSettings
from mailtopic_signup.throttle import Throttle, WideThrottle
from support.signup_service import Signup, running_signup

PROXY = "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "header", "proxies", "client"),
    [
        ("198.51.100.7", [], 0, "198.51.100.7"),
        # Without proxies the header is the client's own invention.
        ("198.51.100.7", ["203.0.113.1"], 0, "198.51.100.7"),
        (PROXY, ["203.0.113.1"], 1, "203.0.113.1"),
        (PROXY, ["6.6.6.6, 203.0.113.1"], 1, "203.0.113.1"),
        (PROXY, ["6.6.6.6", "203.0.113.1"], 1, "203.0.113.1"),
        (PROXY, ["6.6.6.6,7.7.7.7, 203.0.113.1 ,10.0.0.2"], 2, "203.0.113.1"),
        # From inside, past the proxies.
        ("10.9.9.9", [], 2, "10.9.9.9"),
        (PROXY, ["203.0.113.1"], 2, "203.0.113.1"),
        # What a proxy can't have seen is nobody: its connection counts.
        (PROXY, ["6.6.6.6, nonsense"], 1, PROXY),
        (PROXY, [""], 1, PROXY),
        (PROXY, ["203.0.113.1:4711"], 1, "203.0.113.1"),
        (PROXY, ["[2001:db8:1:2:3:4:5:6]:4711"], 1, "2001:db8:1:2::/64"),
        (PROXY, ["2001:db8:1:2:ffff::1"], 1, "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", [], 0, "2001:db8:1:2::/64"),
        ("::ffff:198.51.100.7", [], 0, "198.51.100.7"),
        (None, [], 0, "unknown"),
        ("unix", [], 0, "unknown"),
    ],
)
def test_a_client_is_what_the_outermost_trusted_proxy_saw(
    peer: str | None, header: list[str], proxies: int, client: str
) -> None:
    assert client_of(peer, header, proxies) == client


@given(invented=st.lists(st.text(max_size=40), max_size=5), proxies=st.integers(1, 3))
def test_nothing_that_a_client_writes_makes_it_another_one(
    invented: list[str], proxies: int
) -> None:
    seen = ["203.0.113.1", "10.0.0.3", "10.0.0.2"][:proxies]
    header = [", ".join([*invented, *seen])]
    assert client_of(PROXY, header, proxies) == "203.0.113.1"


@given(gaps=st.lists(st.floats(0, 30), max_size=60))
def test_no_window_wherever_it_begins_holds_more_than_the_limit(gaps: list[float]) -> None:
    clock = ManualClock()
    throttle = Throttle(5, 60, clock)
    admitted = []
    for gap in gaps:
        clock.advance(gap)
        wait_s = throttle.admit("a")
        if wait_s:
            assert 0 < wait_s <= 60
        else:
            admitted.append(clock.monotonic_s())
    for start in admitted:
        assert sum(1 for time in admitted if start <= time < start + 60) <= 5


def test_who_waits_as_long_as_told_is_admitted_and_others_are_not_concerned() -> None:
    clock = ManualClock()
    throttle = Throttle(2, 60, clock)
    assert [throttle.admit("a") for _ in range(3)] == [0, 0, 60]
    assert throttle.admit("b") == 0
    clock.advance(60)
    assert throttle.admit("a") == 0


def test_it_remembers_no_more_clients_than_it_may() -> None:
    throttle = Throttle(1, 60, ManualClock())
    for number in range(10_001):
        assert throttle.admit(str(number)) == 0
    assert throttle.admit("10000") > 0
    assert throttle.admit("0") == 0


def test_a_wide_network_counts_as_a_few_clients() -> None:
    throttle = WideThrottle(5, 60, ManualClock())

    def admitted(third: int, networks: range) -> int:
        clients = [client_of(f"2001:db8:{third:x}:{number:x}::1", [], 0) for number in networks]
        return sum(throttle.admit(client) == 0 for client in clients for _ in range(6))

    assert admitted(1, range(1)) == 5
    assert admitted(1, range(256)) == 15  # with those before: four clients of a /56
    assert admitted(1, range(0x0100, 0x10000, 7)) == 60  # sixteen of a /48
    assert admitted(2, range(1)) == 5
    assert [throttle.admit("198.51.100.7") for _ in range(6)] == [0] * 5 + [60]


def test_what_a_wide_network_is_refused_for_counts_for_nobody() -> None:
    clock = ManualClock()
    throttle = WideThrottle(1, 60, clock)
    clients = [client_of(f"2001:db8:1:{number:x}::1", [], 0) for number in range(6)]
    assert [throttle.admit(client) for client in clients] == [0] * 4 + [60] * 2
    clock.advance(60)
    assert [throttle.admit(client) for client in reversed(clients)] == [0] * 4 + [60] * 2


@pytest.fixture
async def limited(settings: SignupSettings) -> AsyncIterator[Signup]:
    """A service with its limits as they are by default, behind one proxy."""
    settings = settings.model_copy(update={"clients": ClientsSettings(trusted_proxies=1)})
    async with running_signup(settings) as service:
        yield service


async def test_a_client_signs_up_twenty_times_a_minute(limited: Signup) -> None:
    async def begin(number: int, client: str) -> httpx.Response:
        body = {"email": f"a{number}@example.com"}
        return await limited.post("/v1/signups", body, x_forwarded_for=f"6.6.6.{number}, {client}")

    answers = [await begin(number, "203.0.113.1") for number in range(22)]
    assert [answer.status_code for answer in answers] == [202] * 20 + [429] * 2
    refused = answers[-1]
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "60"
    assert len(await limited.mails()) == 20
    assert (await begin(30, "203.0.113.2")).status_code == 202
    assert 'result="throttled"} 2.0' in (await limited.client.get("/metrics")).text
    limited.clock.advance(60)
    assert (await begin(31, "203.0.113.1")).status_code == 202


async def test_resends_count_as_signups_and_reading_is_free(limited: Signup) -> None:
    challenge = await limited.begin()
    path = f"/v1/signups/{challenge}"
    for _ in range(19):
        assert (await limited.post(f"{path}/resend")).status_code == 429
    refused = await limited.post(f"{path}/resend")
    assert refused.json()["type"].endswith("too-many-requests")
    for _ in range(100):
        assert (await limited.client.get(path)).status_code == 200


async def test_a_client_tries_thirty_codes_in_five_minutes(limited: Signup) -> None:
    statuses = []
    for number in range(7):
        challenge = await limited.begin(f"a{number}@example.com")
        wrong = await limited.wrong_code()
        statuses += [(await limited.verify(challenge, wrong)).status_code for _ in range(5)]
    assert statuses == [422] * 30 + [429] * 5


async def test_a_client_that_is_refused_is_not_read(limited: Signup) -> None:
    read = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"{}"

    headers = {"content-type": "application/json"}
    for _ in range(20):
        await limited.client.post("/v1/signups", content=b"{}", headers=headers)
    answer = await limited.client.post("/v1/signups", content=chunks(), headers=headers)
    assert (answer.status_code, read) == (429, 0)
