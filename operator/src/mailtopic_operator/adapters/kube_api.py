"""Requests to the Kubernetes API: JSON in, JSON out, one error tree, retries where they help."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from kubernetes.aio.client import ApiClient

from mailtopic_operator.errors import (
    KubeConflict,
    KubeError,
    KubeForbidden,
    KubeNotFound,
    KubeRefused,
    KubeUnavailable,
)

Json = dict[str, Any]

APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
_PLAIN: Final = "application/json"

_ERRORS: Final[Mapping[int, type[KubeError]]] = {
    400: KubeRefused,
    401: KubeUnavailable,  # a token that is being rotated
    403: KubeForbidden,
    404: KubeNotFound,
    405: KubeNotFound,
    409: KubeConflict,
    410: KubeConflict,
    413: KubeRefused,
    415: KubeRefused,
    422: KubeRefused,
    429: KubeUnavailable,
}
_BUSY: Final = frozenset({429, 500, 502, 503, 504})
_ABSENCE: Final = (aiohttp.ClientError, TimeoutError, OSError)
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, and the resourceVersion of the whole list."""

    items: list[Json]
    version: int


class KubeApi:
    """The API server as a store of JSON documents.

    Every request is idempotent or fails if made twice, so a request without an answer is tried
    again a few times; then KubeUnavailable is raised. No error quotes an object.

    Args:
        client: logs in, and counts.
        timeout_s: how long one try may take.
        tries: how often a request is made before KubeUnavailable is raised.
    """

    def __init__(self, client: ApiClient, *, timeout_s: float = 5.0, tries: int = 3) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._tries = tries

    async def get(self, path: str, **query: str) -> Json:
        """Read one object, or one page of a list."""
        return await self._patiently("GET", path, query)

    async def pages(self, path: str, **query: str) -> AsyncIterator[Page]:
        """Read a list page by page."""
        rest = ""
        while True:
            more = {"continue": rest} if rest else {}
            page = await self.get(path, limit=str(_PAGE), **query, **more)
            yield Page(page["items"], int(page["metadata"]["resourceVersion"]))
            rest = page["metadata"].get("continue") or ""
            if not rest:
                return

    async def create(self, path: str, body: Json) -> Json:
        """Create an object; KubeConflict if it exists already."""
        return await self._patiently("POST", path, {}, body)

    async def replace(self, path: str, body: Json) -> Json:
        """Replace an object by one with the same resourceVersion."""
        return await self._patiently("PUT", path, {}, body)

    async def apply(self, path: str, body: Json, *, field_manager: str, force: bool) -> Json:
        """Apply fields server-side; with force, those that other managers own are taken over."""
        query = {"fieldManager": field_manager, "force": "true" if force else "false"}
        return await self._patiently("PATCH", path, query, body, APPLY)

    async def patch(self, path: str, body: Json | list[Json], *, field_manager: str) -> Json:
        """Merge-patch an object, or apply RFC 6902 operations if the body is a list."""
        content_type = JSON_PATCH if isinstance(body, list) else MERGE
        return await self._patiently(
            "PATCH", path, {"fieldManager": field_manager}, body, content_type
        )

    async def delete(self, path: str, *, uid: str, propagation: str) -> None:
        """Delete an object if it still has this uid; an absent one counts as deleted."""
        options = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": propagation,
            "preconditions": {"uid": uid},
        }
        try:
            await self._patiently("DELETE", path, {}, options)
        except KubeNotFound:
            return

    async def _patiently(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Json | list[Json] | None = None,
        content_type: str = _PLAIN,
    ) -> Json:
        for attempt in range(1, self._tries + 1):
            try:
                return await self._once(method, path, query, body, content_type)
            except _Busy as busy:
                if attempt == self._tries:
                    raise KubeUnavailable(str(busy)) from None
                await asyncio.sleep(busy.wait_s or _backoff_s(attempt))
        raise AssertionError("a request is tried at least once")

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Json | list[Json] | None,
        content_type: str,
    ) -> Json:
        request = await self._client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params={"Accept": _PLAIN, "Content-Type": content_type},
            auth_settings=["BearerToken"],
        )
        try:
            # The client serialises the body, once.
            response = await self._client.call_api(
                *request[:3], body, _request_timeout=aiohttp.ClientTimeout(total=self._timeout_s)
            )
            content = await response.read()
        except _ABSENCE as error:
            raise _Busy(f"the API server doesn't answer: {type(error).__name__}") from None
        if response.status in _BUSY:
            wait_s = _retry_after_s(response.headers.get("Retry-After"))
            raise _Busy(f"the API server is busy: {response.status}", wait_s)
        if response.status >= 400:  # noqa: PLR2004 - where HTTP's errors begin
            raise _error(response.status, content)
        answer: Json = json.loads(content)
        return answer


class _Busy(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, text: str, wait_s: float | None = None) -> None:
        super().__init__(text)
        self.wait_s = wait_s


def _backoff_s(attempt: int) -> float:
    return float(random.uniform(0.5, 1.0) * 0.2 * 2**attempt)  # noqa: S311 - no secret


def _retry_after_s(header: str | None) -> float | None:
    if header is None or not header.isdigit():
        return None
    return min(float(header), 5.0)


def _error(status: int, content: bytes) -> KubeError:
    try:
        told = json.loads(content)
        reason = told.get("reason") or "Unknown"
        causes = (told.get("details") or {}).get("causes") or []
    except (ValueError, AttributeError):
        reason, causes = "Unknown", []
    # A message may quote the object; the names of the invalid fields are enough.
    fields = ", ".join(sorted({str(cause.get("field")) for cause in causes if cause.get("field")}))
    text = f"{status} {reason}" + (f": {fields}" if fields else "")
    return _ERRORS.get(status, KubeError)(text)
