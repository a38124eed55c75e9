"""Idempotency keys whose first request isn't answered yet."""

import asyncio
import threading

from support.signup_service import Signup

BODY = {"email": "anna@example.com"}


async def test_of_many_requests_with_one_key_one_is_stored_and_the_others_wait_or_repeat_it(
    signup: Signup,
) -> None:
    answers = await asyncio.gather(
        *(signup.post("/v1/signups", BODY, idempotency_key="k-1") for _ in range(10))
    )
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert len({answer.content for answer in accepted}) == 1
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len(await signup.mails()) == 1


async def test_a_key_whose_first_request_is_not_answered_gets_409_until_it_is(
    signup: Signup,
) -> None:
    may_go_on = threading.Event()
    busy = asyncio.create_task(signup.parts.database.write(lambda _: may_go_on.wait(60)))
    requests = {
        asyncio.create_task(signup.post("/v1/signups", BODY, idempotency_key="k-1"))
        for _ in range(2)
    }
    (early,), (first,) = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
    assert early.result().status_code == 409
    assert early.result().json()["type"].endswith("in-flight")
    assert early.result().headers["retry-after"] == "1"
    may_go_on.set()
    assert await busy
    answered = await first
    again = await signup.post("/v1/signups", BODY, idempotency_key="k-1")
    assert (again.status_code, again.content) == (202, answered.content)


async def test_a_key_that_failed_is_free_again(signup: Signup) -> None:
    bad = await signup.post("/v1/signups", {"email": "nonsense"}, idempotency_key="k-1")
    assert bad.status_code == 422
    assert (await signup.post("/v1/signups", BODY, idempotency_key="k-1")).status_code == 202
