"""Users that sign up and retry until they succeed."""

import asyncio
from collections.abc import Iterable
from typing import Any

import httpx

from support.conditions import until
from support.pipeline import Pipeline


async def sign_up(http: httpx.AsyncClient, address: str) -> str:
    """Sign an address up, repeating the request until it is answered; return the challenge's id."""
    challenge_ids: list[str] = []

    async def is_accepted() -> bool:
        try:
            answer = await http.post("/v1/signups", json={"email": address})
        except httpx.TransportError:
            return False
        assert answer.status_code == 202, answer.text
        challenge_ids.append(answer.json()["challenge_id"])
        return True

    await until(is_accepted, "the signup was answered", timeout_s=60)
    return challenge_ids[-1]


async def sign_everybody_up(
    pipeline: Pipeline, addresses: Iterable[str], accepted: set[str], *, at_once: int = 25
) -> None:
    """Sign addresses up from several clients; ``accepted`` grows with every 202."""
    waiting = iter(addresses)

    async def client() -> None:
        async with httpx.AsyncClient(base_url=pipeline.signup_url, timeout=30) as http:
            for address in waiting:
                await sign_up(http, address)
                accepted.add(address)

    await asyncio.gather(*(client() for _ in range(at_once)))


async def all_arrived(pipeline: Pipeline, addresses: set[str]) -> bool:
    """Whether every address has a mail in the inbox."""
    return {recipient_of(mail) for mail in await pipeline.mails()} >= addresses


def recipient_of(mail: dict[str, Any]) -> str:
    """The address that a mail in the inbox is for."""
    (recipient,) = mail["To"]
    return str(recipient["Address"])
