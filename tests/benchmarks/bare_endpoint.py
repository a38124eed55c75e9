"""What signup is compared with: FastAPI, the same body, the same check of the address, and 202.

`python -m benchmarks.bare_endpoint PORT` serves it as the service is served, without middleware. It
stores nothing, and answers with bytes, so that no model is written out as JSON.
"""

import asyncio
import sys

from fastapi import FastAPI, HTTPException
from starlette.responses import Response

from mailtopic_contract import BadAddress, parse_address
from mailtopic_runtime import run_program, stop_on_signals
from mailtopic_signup.http_server import HttpServer, listen
from mailtopic_signup.schemas import SignupRequest
from mailtopic_signup.settings import HttpSettings

_ANSWER = b'{"status":"accepted"}'

app = FastAPI(docs_url=None, redoc_url=None)


@app.post("/v1/signups", status_code=202)
async def begin(body: SignupRequest) -> Response:
    """Accept whoever has a valid address."""
    try:
        parse_address(body.email)
    except BadAddress:
        raise HTTPException(422) from None
    return Response(_ANSWER, status_code=202, media_type="application/json")


async def serve(port: int) -> int:
    """Serve until SIGTERM."""
    settings = HttpSettings(port=port)
    server = HttpServer(app, settings)
    stopping = stop_on_signals()
    with listen(settings) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        await stopping.wait()
        server.stop()
        await serving
    return 0


if __name__ == "__main__":
    run_program("bare-endpoint", lambda: serve(int(sys.argv[1])))
