"""The OpenAPI as it is: problems instead of the framework's own error shape."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from mailtopic_signup.schemas import Problem

_FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")


def describe_api(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document; made once."""
    if app.openapi_schema:
        return app.openapi_schema
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _FRAMEWORK_SCHEMAS:
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    for path in document["paths"].values():
        for operation in path.values():
            _drop_framework_answer(operation["responses"])
    app.openapi_schema = document
    return document


def _drop_framework_answer(responses: dict[str, Any]) -> None:
    # Where no 422 is documented the framework adds its own, which never happens here: an invalid
    # path is a 404.
    content = responses.get("422", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    if schema.get("$ref", "").endswith(_FRAMEWORK_SCHEMAS):
        del content["application/json"]
        if not content:
            del responses["422"]
