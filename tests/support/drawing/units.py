"""Numbers as Grafana writes them."""

import math

_TIMES = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_DECIMAL = ("B/s", "kB/s", "MB/s", "GB/s")
_SHORT = ("", " K", " Mil", " Bil")
_MINUTE_S = 60.0


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """Return a number with its unit; without ``decimals``, three significant digits."""
    if math.isnan(value):
        return "–"
    if unit == "percentunit":
        return f"{_digits(value * 100, decimals)}%"
    if unit in {"s", "ms"}:
        return _time(value / 1000 if unit == "ms" else value, decimals)
    if unit == "bytes":
        return _scaled(value, 1024, _BINARY, decimals)
    if unit == "Bps":
        return _scaled(value, 1000, _DECIMAL, decimals)
    text = _scaled(value, 1000, _SHORT, decimals).strip()
    suffix = unit.removeprefix("suffix:") if unit.startswith("suffix:") else ""
    return f"{text}{'' if suffix.startswith('/') else ' '}{suffix}".strip()


def _time(value: float, decimals: int | None) -> str:
    size, name = next(
        (each for each in _TIMES if abs(value) >= each[0]), (1.0, "s") if value == 0 else _TIMES[-1]
    )
    exact = decimals if size < _MINUTE_S else None
    return f"{_digits(value / size, exact)} {name}"


def _scaled(value: float, base: float, names: tuple[str, ...], decimals: int | None) -> str:
    place = 0
    while abs(value) >= base and place < len(names) - 1:
        value /= base
        place += 1
    return f"{_digits(value, decimals if place == 0 else 1)} {names[place]}".replace("  ", " ")


def _digits(value: float, decimals: int | None) -> str:
    if decimals is None:
        size = abs(value)
        decimals = 0 if size >= 100 or value == round(value) else 1 if size >= 10 else 2
    text = f"{value:.{decimals}f}"
    return "0" if float(text) == 0 else text
