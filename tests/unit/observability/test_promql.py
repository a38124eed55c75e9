"""What is found in an expression is all that it names, so that a misspelt metric can't hide."""

import pytest

from support.promql import named


def test_metrics_their_matchers_and_grouping_labels_are_found() -> None:
    found = named(
        'sum by (topic, le) (rate(a_total{relay="x",class=~"b|c"}[5m] offset 1h))\n'
        "/ on (topic) group_left () (max_over_time(d:e:rate5m[30d]) > bool 0.5) unless f"
    )
    assert found.metrics == {"a_total", "d:e:rate5m", "f"}
    assert found.selectors[0] == ("a_total", (("relay", "=", "x"), ("class", "=~", "b|c")))
    assert found.lists == {"topic", "le"}


def test_functions_and_words_are_no_metrics() -> None:
    assert named("histogram_quantile(0.9, sum by (le) (a)) or vector(1) and absent(b)").metrics == {
        "a",
        "b",
    }
    assert named("count(a) - time() * 24 * 3600").metrics == {"a"}


def test_what_is_no_promql_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no PromQL from here: \$x"):
        named("sum(a) + $x")
