"""charts/images.txt is what the charts ask for, and a registry of one's own serves all of it."""

from support.chart_images import LIST, image_list
from support.helm import Helm


def test_the_list_is_what_the_charts_ask_for(newest_helm: Helm) -> None:
    assert LIST.read_text("utf-8") == image_list(newest_helm)
