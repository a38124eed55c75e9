"""The building blocks of the dashboards' PromQL.

Grafana replaces names that begin with a dollar: the dashboard's variables, $__rate_interval (at
least four scrapes) and $__range (the shown range).
"""

from typing import Final

NAMESPACE: Final = 'namespace=~"$namespace"'
TOPIC: Final = f'{NAMESPACE},topic=~"$topic"'
CONSUMED: Final = f'{NAMESPACE},topic=~"($topic)([.]retry[.].*)?"'
"""Labels of partition metrics: the topic and its retry topics."""
MAIN: Final = f'{TOPIC},topic!~".+[.]retry[.].+"'
"""The same without retry topics, where mails wait on purpose."""
RELAY: Final = f'{TOPIC},relay=~"$relay"'

FINAL: Final = 'outcome!="deferred"'
"""The outcomes after which no other follows."""


def rate(metric: str, labels: str, by: str = "") -> str:
    """Return a counter's growth per second."""
    return f"{_sum(by)}(rate({metric}{{{labels}}}[$__rate_interval]))"


def increase(metric: str, labels: str, by: str = "") -> str:
    """Return a counter's growth in the shown range."""
    return f"{_sum(by)}(increase({metric}{{{labels}}}[$__range]))"


def quantile(share: float, histogram: str, labels: str) -> str:
    """Return a quantile of a histogram's recent observations; NaN if there are none."""
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', labels, 'le')})"


def quantiles(
    share: float, histogram: str, labels: str, by: str, *, over: str = "$__rate_interval"
) -> str:
    """Return a quantile for each group, of its histogram's observations in a time."""
    buckets = f"sum by (le, {by}) (rate({histogram}_bucket{{{labels}}}[{over}]))"
    return f"histogram_quantile({share}, {buckets})"


def mean(histogram: str, labels: str, by: str = "") -> str:
    """Return the mean of a histogram's recent observations; NaN if there are none."""
    return f"{rate(f'{histogram}_sum', labels, by)} / {rate(f'{histogram}_count', labels, by)}"


def or_zero(expression: str) -> str:
    """Return an expression that is 0 if there are no series: nothing has happened."""
    return f"{expression} or vector(0)"


def or_none(expression: str, label: str, text: str = "none") -> str:
    """Return an expression that is one 0 with a label if there are no series."""
    return f'{expression} or on() label_replace(vector(0), "{label}", "{text}", "", "")'


def parts(metric: str, labels: str, by: str) -> str:
    """Return the growth of a counter's parts, without those that don't grow; one 0 if none does."""
    return or_none(f"{rate(metric, labels, by)} > 0", by.split(",", maxsplit=1)[0])


def _sum(by: str) -> str:
    return f"sum by ({by}) " if by else "sum"
