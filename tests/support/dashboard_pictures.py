"""Draw every dashboard from the data of a running Prometheus.

``PYTHONPATH=tests .venv/bin/python -m support.dashboard_pictures --port 9090 --minutes 10`` writes
docs/images/dashboard-NAME.png. Nothing is asked of Grafana: the pictures show its panels' places,
titles, units, thresholds and data, not its looks.
"""

import argparse
import sys
import time
from pathlib import Path

from support.chromium import find_chromium, launched
from support.dashboards import read_dashboards
from support.drawing.answers import Answers, Window
from support.drawing.page import WIDTH, page_of
from support.helm import ROOT
from support.prometheus import Prometheus

IMAGES = ROOT / "docs" / "images"


def draw(answers: Answers, folder: Path) -> list[Path]:
    """Write dashboard-NAME.png for each dashboard, and return their paths.

    Raises:
        RuntimeError: there is no Chromium.
    """
    program = find_chromium()
    if program is None:
        raise RuntimeError("there is no Chromium: apt install chromium")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    pages = {name: page_of(board, answers) for name, board in read_dashboards().items()}
    with launched(program) as browser:
        for name, (html, height) in pages.items():
            page = browser.new_page(viewport={"width": WIDTH, "height": height})
            page.set_content(html)
            path = folder / f"dashboard-{name}.png"
            page.screenshot(path=path)
            page.close()
            written.append(path)
    return written


def main() -> None:
    """Draw what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="of Prometheus, on loopback")
    parser.add_argument("--minutes", type=float, default=60, help="to show, up to now")
    parser.add_argument("--scrape-s", type=float, default=15, help="between two scrapes")
    parser.add_argument("--folder", type=Path, default=IMAGES, help="where to write")
    arguments = parser.parse_args()
    end_s = time.time()
    window = Window(end_s - arguments.minutes * 60, end_s, arguments.scrape_s)
    answers = Answers(Prometheus(arguments.port, Path()), window, {})
    for path in draw(answers, arguments.folder):
        sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    main()
