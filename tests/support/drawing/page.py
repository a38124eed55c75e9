"""A dashboard as one page: its panels where its JSON puts them."""

import time
from html import escape
from typing import Any

from support.drawing.answers import Answers
from support.drawing.palette import BACKGROUND, FAINT, LINE, PANEL, TEXT
from support.drawing.panels import body_of

Json = dict[str, Any]
WIDTH = 1680
_CELL = 35
_GAP = 8
_TOP = 52
_COLUMN = (WIDTH - _GAP) / 24

_STYLE = f"""
* {{ box-sizing: border-box; margin: 0 }}
body {{ background: {BACKGROUND}; color: {TEXT}; width: {WIDTH}px;
  font: 13px "DejaVu Sans", sans-serif }}
header {{ position: absolute; left: {_GAP}px; right: {_GAP}px; top: 8px; height: 36px;
  display: flex; align-items: center; gap: 18px; padding: 0 6px }}
header h1 {{ font-size: 19px; font-weight: 500 }}
header span {{ background: {PANEL}; border: 1px solid {LINE}; border-radius: 3px;
  padding: 5px 10px; color: {TEXT} }}
header span b {{ color: #6e9fff; font-weight: 500; margin-right: 8px }}
header time {{ margin-left: auto; color: {FAINT} }}
section, h2 {{ position: absolute }}
section {{ background: {PANEL}; border: 1px solid {LINE}; border-radius: 3px; overflow: hidden }}
section h3 {{ font-size: 13px; font-weight: 500; padding: 8px 10px 0; height: 30px;
  white-space: nowrap }}
h2 {{ font-size: 15px; font-weight: 500; padding-top: 9px }}
h2::before {{ content: "⌄ "; color: {FAINT} }}
svg {{ display: block }}
.number {{ font-size: 38px; font-weight: 600; text-align: center; line-height: 56px }}
.number small {{ font-size: 19px; font-weight: 500 }}
.spark {{ position: absolute; left: 0; bottom: 0 }}
.legend {{ padding: 3px 10px; display: flex; gap: 14px; white-space: nowrap; overflow: hidden;
  font-size: 12px; color: {TEXT} }}
.legend i {{ display: inline-block; width: 14px; height: 4px; border-radius: 2px;
  margin-right: 6px; vertical-align: middle }}
.bars {{ display: flex; flex-direction: column; justify-content: space-evenly; padding: 0 14px }}
.bar {{ display: flex; align-items: center; gap: 12px; font-size: 14px }}
.bar > span {{ width: 92px }}
.bar .track {{ flex: 1; background: #22252b; height: 38px; border-radius: 2px }}
.bar .track div {{ height: 100%; border-radius: 2px }}
.bar b {{ width: 62px; text-align: right; font-size: 19px; font-weight: 600 }}
table {{ border-collapse: collapse; margin: 4px 8px }}
th {{ text-align: left; color: #6e9fff; font-weight: 500; padding: 7px 10px;
  border-bottom: 1px solid {LINE} }}
td {{ padding: 7px 10px; border-bottom: 1px solid {LINE} }}
"""


def page_of(dashboard: Json, answers: Answers) -> tuple[str, int]:
    """Return the page's HTML and its height in pixels."""
    parts = [_header(dashboard, answers)]
    bottom = 0.0
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        left, top = _GAP + place["x"] * _COLUMN, _TOP + place["y"] * _CELL
        width, height = place["w"] * _COLUMN - _GAP, place["h"] * _CELL - _GAP
        bottom = max(bottom, top + height)
        where = f"left:{left:.1f}px;top:{top:.1f}px;width:{width:.1f}px"
        title = escape(panel["title"])
        if panel["type"] == "row":
            parts.append(f'<h2 style="{where}">{title}</h2>')
            continue
        body = body_of(panel, answers, width - 2, height - 2)
        parts.append(
            f'<section style="{where};height:{height:.1f}px"><h3>{title}</h3>{body}</section>'
        )
    html = f'<!doctype html><meta charset="utf-8"><style>{_STYLE}</style>{"".join(parts)}'
    return html, round(bottom + _GAP)


def _header(dashboard: Json, answers: Answers) -> str:
    chips = "".join(
        f"<span><b>{escape(variable['label'])}</b>{escape(_value(variable, answers))}</span>"
        for variable in dashboard["templating"]["list"]
        if variable["name"] != "datasource"
    )
    times = [
        time.strftime("%H:%M:%S", time.gmtime(at_s))
        for at_s in (answers.window.start_s, answers.window.end_s)
    ]
    title = escape(dashboard["title"])
    return f"<header><h1>{title}</h1>{chips}<time>{times[0]} to {times[1]} UTC</time></header>"


def _value(variable: Json, answers: Answers) -> str:
    return answers.variables.get(variable["name"], "All")
