"""The signup page, if it is there: static files and one place to fill in."""

from html import escape
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

PAGES = Path(__file__).with_name("pages")
_INBOX = '<meta name="mailtopic-inbox" content="">'
_POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


def add_site(app: FastAPI, folder: Path, inbox_url: str | None) -> None:
    """Serve a folder's index.html at / and the folder at /static, if there is one."""
    index = folder / "index.html"
    if not index.is_file():
        return
    page = index.read_text(encoding="utf-8")
    if inbox_url:
        page = page.replace(_INBOX, _INBOX.replace('""', f'"{escape(inbox_url)}"'))
    headers = {
        "Content-Security-Policy": _POLICY,
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
    }

    @app.get("/", include_in_schema=False)
    async def show_page() -> Response:
        return HTMLResponse(page, headers=headers)

    app.mount("/static", StaticFiles(directory=folder), name="static")
