"""Checks SPF, DKIM, DMARC and MX of the From domain."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mailtopic_cli.adapters.resolver import Resolver, Unanswered
from mailtopic_cli.relay.providers import Provider, provider_of
from mailtopic_cli.relay.records import RecordError, Spf, dkim_key, find_dmarc, find_spf
from mailtopic_runtime import Finding, FindingState

_OK, _WARNING, _FAILED = FindingState.OK, FindingState.WARNING, FindingState.FAILED
_MOST_LOOKUPS = 10
"""RFC 7208 §4.6.4: with more, receivers treat the whole record as an error."""

_LEAST_LABELS = 2


@dataclass(frozen=True, slots=True)
class Sending:
    """From which domain mails go out, and how.

    Attributes:
        from_domain: the domain of the From address.
        hosts: the relays' host names.
        dkim_domain: the domain that signs.
        dkim_keys: selector → public key as its record has it; empty if the sender signs nothing.
        selectors: more selectors to look for.
    """

    from_domain: str
    hosts: Sequence[str]
    dkim_domain: str
    dkim_keys: Mapping[str, str]
    selectors: Sequence[str] = ()


async def check_dns(sending: Sending, resolver: Resolver) -> list[Finding]:
    """Return the findings; an unanswered query is a warning, and nothing is raised."""
    providers = tuple(dict.fromkeys(provider_of(host) for host in sending.hosts))
    check = _DnsCheck(sending, providers, resolver)
    found = await asyncio.gather(check.spf(), check.dkim(), check.dmarc(), check.mx())
    return [finding for findings in found for finding in findings]


class _DnsCheck:
    def __init__(
        self, sending: Sending, providers: Sequence[Provider | None], resolver: Resolver
    ) -> None:
        self._sending = sending
        self._providers = providers
        self._resolver = resolver
        self._domain = sending.from_domain

    async def spf(self) -> list[Finding]:
        """Whether the SPF record lets each relay's provider send."""
        try:
            spf = find_spf(await self._resolver.texts(self._domain))
            if spf is None:
                return [self._without_spf()]
            walk = _SpfWalk(self._resolver)
            await walk.follow(self._domain, spf)
        except Unanswered as error:
            return [self._unanswered("spf", error)]
        except RecordError as error:
            return [self._tell(_FAILED, "spf", str(error))]
        if walk.lookups > _MOST_LOOKUPS:
            text = f"it takes {walk.lookups} look-ups, and receivers make {_MOST_LOOKUPS} at most"
            return [self._tell(_FAILED, "spf", text, "take out includes that send no mails")]
        return list(self._judge_spf(walk))

    def _without_spf(self) -> Finding:
        needs = [each for each in self._providers if each is None or not each.own_return_path]
        if not needs:
            return self._tell(_OK, "spf", "no record; the relays use return paths of their own")
        includes = " ".join(
            f"include:{each.include}" for each in needs if each is not None and each.include
        )
        # A relay that isn't known here may have a return path of its own.
        state = _FAILED if includes else _WARNING
        record = f"v=spf1 {includes or 'ip4:ADDRESS-OF-THE-RELAY'} ~all"
        return self._tell(state, "spf", "there is no record", f'publish TXT "{record}"')

    def _judge_spf(self, walk: "_SpfWalk") -> Iterator[Finding]:
        for provider in self._providers:
            if provider is None or provider.include is None:
                yield self._tell(
                    _OK,
                    "spf",
                    f"there is a record, of {walk.lookups} look-ups",
                    "make sure that it names the addresses from which the relay sends",
                )
            elif provider.include in walk.domains:
                yield self._tell(
                    _OK, "spf", f"lets {provider.name} send (include:{provider.include})"
                )
            elif provider.own_return_path:
                yield self._tell(
                    _OK,
                    "spf",
                    f"doesn't name {provider.name}, which uses a return path of its own",
                )
            else:
                yield self._tell(
                    _FAILED,
                    "spf",
                    f"doesn't let {provider.name} send",
                    f"add include:{provider.include} to the record",
                )

    async def dkim(self) -> list[Finding]:
        """Whether the signing keys are published, and match."""
        ours = self._sending.dkim_keys
        asked = dict.fromkeys([*ours, *self._sending.selectors])
        guesses = dict.fromkeys(name for each in self._providers if each for name in each.selectors)
        if not asked and not guesses:
            return [
                self._tell(
                    _WARNING,
                    "dkim",
                    "not looked for: the sender doesn't sign, and no selector is known",
                    "name the selector that the provider shows: --dkim-selector NAME",
                )
            ]
        if asked:
            return list(
                await asyncio.gather(*(self._dkim_of(name, ours.get(name)) for name in asked))
            )
        return await self._guess_dkim(tuple(guesses))

    async def _dkim_of(self, selector: str, ours: str | None) -> Finding:
        domain = self._sending.dkim_domain if ours is not None else self._domain
        name = f"{selector}._domainkey.{domain}"
        try:
            texts = await self._resolver.texts(name)
            if not texts:
                advice = _dkim_advice(name, ours)
                return self._tell(_FAILED, "dkim", f"there is no record {name}", advice)
            key = dkim_key(texts)
        except Unanswered as error:
            return self._unanswered("dkim", error)
        except RecordError as error:
            return self._tell(_FAILED, "dkim", f"{name}: {error}", _dkim_advice(name, ours))
        if ours is not None and key != ours:
            return self._tell(
                _FAILED,
                "dkim",
                f"{name} holds another key than the sender signs with",
                _dkim_advice(name, ours),
            )
        same = "the key that the sender signs with" if ours is not None else "a key"
        return self._tell(_OK, "dkim", f"{name} holds {same}")

    async def _guess_dkim(self, selectors: Sequence[str]) -> list[Finding]:
        """Look under the provider's usual selectors: one that is there is enough."""
        found = await asyncio.gather(*(self._dkim_of(name, None) for name in selectors))
        good = [each for each in found if each.state is _OK]
        if good:
            return good
        unknown = [each for each in found if each.state is _WARNING]
        if unknown:
            return unknown[:1]
        names = ", ".join(selectors)
        return [
            self._tell(
                _WARNING,
                "dkim",
                f"there is no key under the provider's usual selectors ({names})",
                "switch DKIM on at the provider, or name its selector: --dkim-selector NAME",
            )
        ]

    async def dmarc(self) -> list[Finding]:
        """Which policy applies: the domain's own, or that of the nearest one above it."""
        domain = self._domain
        try:
            while True:
                policy = find_dmarc(await self._resolver.texts(f"_dmarc.{domain}"))
                above = domain.partition(".")[2]
                if policy is not None or above.count(".") < _LEAST_LABELS - 1:
                    break
                domain = above
        except Unanswered as error:
            return [self._unanswered("dmarc", error)]
        except RecordError as error:
            return [self._tell(_FAILED, "dmarc", f"_dmarc.{domain}: {error}")]
        if policy is None:
            return [
                self._tell(
                    _WARNING,
                    "dmarc",
                    "there is no record; large mailbox providers want one",
                    f'publish TXT "v=DMARC1; p=none" at _dmarc.{self._domain}, then tighten it',
                )
            ]
        return [self._tell(_OK, "dmarc", f"p={policy} (_dmarc.{domain})")]

    async def mx(self) -> list[Finding]:
        """Whether the From domain takes mail: bounces and answers go there."""
        try:
            exchanges = await self._resolver.exchanges(self._domain)
            if exchanges and exchanges != ["."]:
                return [self._tell(_OK, "mx", ", ".join(exchanges))]
            if not exchanges and await self._resolver.has_address(self._domain):
                return [self._tell(_OK, "mx", "none, but the domain has an address")]
        except Unanswered as error:
            return [self._unanswered("mx", error)]
        text = "the domain says that it takes no mail" if exchanges else "the domain has no MX"
        advice = "many relays refuse a From domain that takes no mail: give it an MX record"
        return [self._tell(_WARNING, "mx", text, advice)]

    def _unanswered(self, step: str, error: Unanswered) -> Finding:
        return self._tell(_WARNING, step, f"not known: {error}", "is the DNS in reach from here?")

    def _tell(self, state: FindingState, step: str, text: str, advice: str = "") -> Finding:
        return Finding(f"DNS of {self._domain}", step, state, text, advice)


class _SpfWalk:
    """Follows includes and redirects as a receiver does."""

    def __init__(self, resolver: Resolver) -> None:
        self.lookups = 0
        self.domains: set[str] = set()
        self._resolver = resolver

    async def follow(self, domain: str, spf: Spf) -> None:
        """Take a record and what it includes into account, up to the limit of look-ups."""
        self.domains.add(domain)
        self.lookups += spf.lookups
        for each in (*spf.includes, *((spf.redirect,) if spf.redirect else ())):
            if each in self.domains or self.lookups > _MOST_LOOKUPS or "%" in each:
                continue
            self.domains.add(each)
            included = find_spf(await self._resolver.texts(each))
            if included is None:
                raise RecordError(f"it includes {each}, which has no SPF record")
            await self.follow(each, included)


def _dkim_advice(name: str, ours: str | None) -> str:
    if ours is None:
        return "publish the record that the provider shows for this selector"
    kind = "ed25519" if len(ours) < _SHORTEST_RSA else "rsa"
    return f'publish TXT at {name}: "v=DKIM1; k={kind}; p={ours}"'


_SHORTEST_RSA = 100
"""Characters of a public key in Base64: Ed25519 has 44, the shortest RSA key over 200."""
