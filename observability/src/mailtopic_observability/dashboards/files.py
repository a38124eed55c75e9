"""The dashboards as files."""

import json
from collections.abc import Mapping
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from mailtopic_observability.dashboards import kafka, operator, overview, relay, signup, topic
from mailtopic_observability.dashboards.frame import Board
from mailtopic_observability.generate import Generator

FOLDER: Final = "charts/mailtopic/files/dashboards"


def boards() -> tuple[Board, ...]:
    """Return all dashboards."""
    return (
        overview.BOARD,
        topic.BOARD,
        relay.BOARD,
        signup.BOARD,
        operator.BOARD,
        kafka.BOARD,
    )


def files() -> Mapping[str, str]:
    """Return each dashboard's JSON by its path."""
    return {f"{FOLDER}/{board.name}.json": _text(board) for board in boards()}


def _text(board: Board) -> str:
    return json.dumps(board.build(), cls=JSONEncoder, indent=1, ensure_ascii=False) + "\n"


GENERATOR: Final = Generator("dashboards", owns=(f"{FOLDER}/*.json",), files=files)
