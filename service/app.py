"""The web application: routes, problems, and documentation that needs no network."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from service.api import benchmark, downloads, health, jobs, optimize
from service.api.foreign import refuse_foreign
from service.api.problems import ProblemDetails, add_problems
from service.api.query import refuse_unknown_query
from service.jobs import Jobs

_STATIC = Path(__file__).parent / "web" / "static"
_DESCRIPTION = (
    "POST a model to /optimize, download the optimized ONNX artifact, query /benchmark. "
    "Errors are RFC 9457 problems: what is wrong, and what to do."
)
# Swagger UI is vendored: npm swagger-ui-dist 5.35.0, unchanged.
_DOCS = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>onnxpress: the API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/swagger-ui/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/static/swagger-ui/swagger-ui-bundle.js"></script>
<script src="/static/docs.js"></script>
</body>
</html>
"""
# Swagger UI sets styles inline and draws its icons from data: addresses.
_DOCS_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"


def create_app(jobs_of_server: Jobs) -> FastAPI:
    """The application on the jobs of one server, which the caller launches and shuts down."""
    app = FastAPI(
        title="onnxpress",
        version=version("onnxpress"),
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        dependencies=[Depends(refuse_foreign), Depends(refuse_unknown_query)],
    )
    app.state.jobs = jobs_of_server
    add_problems(app)
    for room in (optimize, jobs, downloads, benchmark, health):
        app.include_router(room.router)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")

    @app.get("/", include_in_schema=False)
    def root() -> RedirectResponse:
        return RedirectResponse("/docs")

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(_DOCS, headers={"Content-Security-Policy": _DOCS_POLICY})

    _add_problem_schema(app)
    return app


def _add_problem_schema(app: FastAPI) -> None:
    """Problems are answered outside the routes, so that FastAPI does not see their schema."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = make()
            schemas = document["components"]["schemas"]
            schemas["ProblemDetails"] = ProblemDetails.model_json_schema(mode="serialization")
            # FastAPI's own form of an invalid request, which this application never answers with.
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            for operation in (each for path in document["paths"].values() for each in path.values()):
                if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                    del operation["responses"]["422"]
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema
