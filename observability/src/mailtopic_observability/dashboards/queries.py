"""PromQL as the dashboards' queries are made of.

Grafana replaces what begins with a dollar: the dashboard's variables, and $__rate_interval (at
least four scrapes) and $__range (all that is shown).
"""

from typing import Final

NAMESPACE: Final = 'namespace=~"$namespace"'
TOPIC: Final = f'{NAMESPACE},topic=~"$topic"'
CONSUMED: Final = f'{NAMESPACE},topic=~"($topic)([.]retry[.].*)?"'
"""Of metrics of partitions: those of the topic and of its retry topics."""
MAIN: Final = f'{TOPIC},topic!~".+[.]retry[.].+"'
"""The same without retry topics, whose mails wait on purpose."""
RELAY: Final = f'{TOPIC},relay=~"$relay"'

FINAL: Final = 'outcome!="deferred"'
"""Of the outcomes, those after which no other follows."""


def rate(metric: str, labels: str, by: str = "") -> str:
    """Return how much a counter grows in a second."""
    return f"{_sum(by)}(rate({metric}{{{labels}}}[$__rate_interval]))"


def increase(metric: str, labels: str, by: str = "") -> str:
    """Return by how much a counter grew in all that is shown."""
    return f"{_sum(by)}(increase({metric}{{{labels}}}[$__range]))"


def quantile(share: float, histogram: str, labels: str) -> str:
    """Return a quantile of what a histogram saw lately; NaN if it saw nothing."""
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', labels, 'le')})"


def quantiles(
    share: float, histogram: str, labels: str, by: str, *, over: str = "$__rate_interval"
) -> str:
    """Return a quantile for each group, of what its histogram saw in a time."""
    buckets = f"sum by (le, {by}) (rate({histogram}_bucket{{{labels}}}[{over}]))"
    return f"histogram_quantile({share}, {buckets})"


def mean(histogram: str, labels: str, by: str = "") -> str:
    """Return the mean of what a histogram saw lately; NaN if it saw nothing."""
    return f"{rate(f'{histogram}_sum', labels, by)} / {rate(f'{histogram}_count', labels, by)}"


def or_zero(expression: str) -> str:
    """Return an expression that is 0 where there is nothing: nothing happened, that is."""
    return f"{expression} or vector(0)"


def or_none(expression: str, label: str, text: str = "none") -> str:
    """Return an expression that is one 0 with a label where there is nothing."""
    return f'{expression} or on() label_replace(vector(0), "{label}", "{text}", "", "")'


def parts(metric: str, labels: str, by: str) -> str:
    """Return how much the parts of a counter grow, without those that don't; one 0 if none does."""
    return or_none(f"{rate(metric, labels, by)} > 0", by.split(",", maxsplit=1)[0])


def _sum(by: str) -> str:
    return f"sum by ({by}) " if by else "sum"
