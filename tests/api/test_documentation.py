"""What the server says of itself: its API, and how it is."""

from __future__ import annotations

import httpx


def test_the_documentation_needs_no_network(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert "https:" not in page.text
    assert "http:" not in page.text
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    for name in ("swagger-ui/swagger-ui-bundle.js", "swagger-ui/swagger-ui.css", "docs.js"):
        assert f'"/static/{name}"' in page.text
        assert client.get(f"/static/{name}").status_code == 200


def test_every_operation_is_documented_with_an_example(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            answers = [
                body
                for status, answer in operation["responses"].items()
                if status < "3"
                for kind, body in answer.get("content", {}).items()
                if kind == "application/json" and "$ref" in body["schema"]
            ]
            assert all("example" in body or "examples" in body for body in answers), (method, path)
            problems = {status for status in operation["responses"] if status >= "4"}
            assert all(
                list(operation["responses"][status]["content"]) == ["application/problem+json"]
                for status in problems
            ), (method, path)


def test_the_server_says_how_it_is(client: httpx.Client) -> None:
    health = client.get("/health").json()
    assert health["status"] == "ok"
    assert health["free_bytes"] > 0
