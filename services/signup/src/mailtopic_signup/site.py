"""The signup page, if there is one: static files and a few placeholders."""

from html import escape
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from mailtopic_signup.settings import SignupSettings

PAGES = Path(__file__).with_name("pages")
_META = '<meta name="mailtopic-{}" content="{}">'
_POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


def add_site(app: FastAPI, folder: Path, settings: SignupSettings) -> None:
    """Serve a folder's index.html at / and the folder at /static, if there is one.

    The page reads the settings of codes and of the inbox from its meta elements.
    """
    index = folder / "index.html"
    if not index.is_file():
        return
    page = index.read_text(encoding="utf-8")
    codes = settings.codes
    for name, default, value in (
        ("inbox", "", settings.pages.inbox_url or ""),
        ("code-length", "6", str(codes.length)),
        ("code-ttl-s", "600", str(codes.ttl_s)),
    ):
        page = page.replace(_META.format(name, default), _META.format(name, escape(value)))
    headers = {
        "Content-Security-Policy": _POLICY,
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
    }

    @app.get("/", include_in_schema=False)
    async def show_page() -> Response:
        return HTMLResponse(page, headers=headers)

    app.mount("/static", StaticFiles(directory=folder), name="static")
