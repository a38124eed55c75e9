"""Write charts/images.txt: ``PYTHONPATH=tests .venv/bin/python -m support.chart_images``.

Every image that the charts ask for, with any values that they are tried with; among them those that
the operator starts. What a registry of one's own has to hold.
"""

import sys

from support.chart_cases import chart_cases
from support.helm import CHARTS, Helm, Manifest, containers, helm_clients, pod_templates

LIST = CHARTS / "images.txt"
# Settings that name an image.
_SETTING = "__IMAGE"


def images_of(objects: list[Manifest]) -> set[str]:
    """Return the images that pods of these objects run, or are configured to start."""
    found: set[str] = set()
    for template in pod_templates(objects).values():
        for container in containers(template):
            found.add(container["image"])
            env = container.get("env", [])
            found |= {each["value"] for each in env if each["name"].endswith(_SETTING)}
    return found


def image_list(helm: Helm) -> str:
    """Return what charts/images.txt is to hold: an image a line, in order."""
    found = set[str]().union(*(images_of(case.render(helm)) for case in chart_cases()))
    return "".join(f"{image}\n" for image in sorted(found))


def main() -> None:
    """Write the list."""
    clients = helm_clients()
    if not clients:
        sys.exit("there is no helm: `make cluster` builds it, or name one: MAILTOPIC_HELM")
    LIST.write_text(image_list(clients[-1]), "utf-8")


if __name__ == "__main__":
    main()
