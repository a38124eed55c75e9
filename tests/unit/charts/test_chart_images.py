"""charts/images.txt is what the charts ask for, and a registry of one's own serves all of it."""

import pytest

from support.chart_cases import ChartCase, chart_cases
from support.chart_images import LIST, image_list, images_of
from support.helm import Helm, containers, pod_templates

_MIRROR = "registry.example:5000/mail"
_VALUES = {"global.imageRegistry": _MIRROR, "global.imagePullSecrets": [{"name": "mirror"}]}
# That file of values names a Secret for senders alone.
_SENDERS_OWN = {"operator-everywhere": "registry"}


def test_the_list_is_what_the_charts_ask_for(newest_helm: Helm) -> None:
    assert LIST.read_text("utf-8") == image_list(newest_helm)


@pytest.mark.parametrize("case", chart_cases(), ids=str)
def test_two_values_lead_every_pod_to_a_registry_of_ones_own(
    newest_helm: Helm, case: ChartCase
) -> None:
    objects = newest_helm.template(case.chart, {**case.fixed, **_VALUES}, files=case.files)
    wanted = {f"{_MIRROR}/{each}" for each in images_of(case.render(newest_helm))}
    assert images_of(objects) == wanted
    for where, template in pod_templates(objects).items():
        assert template["spec"]["imagePullSecrets"] == [{"name": "mirror"}], where
        for container in containers(template):
            env = {each["name"]: each.get("value") for each in container.get("env", [])}
            if "MAILTOPIC_OPERATOR__SENDER__IMAGE" in env:
                secrets = env["MAILTOPIC_OPERATOR__SENDER__IMAGE_PULL_SECRETS"]
                assert secrets == _SENDERS_OWN.get(str(case), "mirror")
