"""The OpenAPI 3.1 document, made from the declarations that also serve requests. So it cannot differ from the server."""

import http
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kube_job_runner.web.kit import problems
from kube_job_runner.web.kit.handling import Nothing
from kube_job_runner.web.kit.operations import Bound, Header, group
from kube_job_runner.web.kit.problems import ProblemDetails, ProblemType
from kube_job_runner.web.validation.fault import Fault

_REF = "#/components/schemas/{name}"
_REQUEST_ID = Header(
    name="X-Request-Id", description="The id of this request: that of the request header, or a new one."
)
_WARNING_TEXT = " Unknown fields are ignored with a warning, or refused with `strict=true`."


def build(
    bounds: Sequence[Bound], *, info: Mapping[str, Any], tags: Mapping[str, str], more_problems: tuple[ProblemType, ...]
) -> dict[str, Any]:
    """Return the document of all operations that are not hidden. Every operation may answer with `more_problems`."""
    shown = [bound for bound in bounds if not bound.operation.hidden]
    types: list[Any] = [ProblemDetails]
    for bound in shown:
        types += [bound.path_type, bound.query.type, bound.body_type, bound.answer_type]
    wanted = [type_ for type_ in dict.fromkeys(types) if isinstance(type_, type) and issubclass(type_, msgspec.Struct)]
    _, components = msgspec.json.schema_components(wanted, ref_template=_REF)
    parameters = {name: components.pop(name) for name in _parameter_types(shown) if name in components}
    paths: dict[str, dict[str, Any]] = {}
    for path, methods in group(shown).items():
        paths[path] = {
            method.lower(): _operation(bound, parameters, more_problems) for method, bound in methods.items()
        }
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "info": dict(info),
        "tags": [{"name": name, "description": text} for name, text in tags.items()],
        "paths": paths,
        "components": {
            "schemas": {name: _schema(schema) for name, schema in sorted(components.items())},
            "examples": {
                kind.code: {"summary": kind.title, "value": _problem_example(kind)}
                for kind in _problem_kinds(shown, more_problems)
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "kjr_..."}},
        },
    }


def _parameter_types(bounds: Sequence[Bound]) -> list[str]:
    types = {type_ for bound in bounds for type_ in (bound.path_type, bound.query.type)}
    return sorted({type_.__name__ for type_ in types} | {Nothing.__name__})


def _schema(schema: Any) -> Any:
    """Return a schema that allows unknown fields: the server only warns of them.

    A docstring loses its indentation. Python 3.13 takes it away itself, older ones do not.
    """
    if isinstance(schema, dict):
        return {
            key: inspect.cleandoc(value) if key == "description" and isinstance(value, str) else _schema(value)
            for key, value in schema.items()
            if not (key == "additionalProperties" and value is False)
        }
    return [_schema(item) for item in schema] if isinstance(schema, list) else schema


def _operation(bound: Bound, parameters: Mapping[str, Any], more_problems: tuple[ProblemType, ...]) -> dict[str, Any]:
    operation = bound.operation
    result: dict[str, Any] = {
        "operationId": operation.operation_id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": [] if operation.public else [{"token": []}],
    }
    if operation.description:
        result["description"] = operation.description
    found = [*_parameters(bound, parameters), *map(_request_header, operation.request_headers)]
    if found:
        result["parameters"] = found
    if bound.takes_body:
        result["requestBody"] = _request_body(bound)
    result["responses"] = _responses(bound, more_problems)
    return result


def _parameters(bound: Bound, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    result = []
    for place, type_ in (("path", bound.path_type), ("query", bound.query.type)):
        if type_ is Nothing:
            continue
        schema = parameters[type_.__name__]
        for name, described in schema["properties"].items():
            field = dict(described)
            text = field.pop("description", None) or _inner_description(field)
            parameter: dict[str, Any] = {"name": name, "in": place, "required": name in schema.get("required", ())}
            if text:
                parameter["description"] = text
            if place == "query" and field.get("type") == "array":
                parameter |= {"style": "form", "explode": True}
            if place == "query" and field.get("type") == "boolean":
                parameter["allowEmptyValue"] = True  # `?verbose` is `?verbose=true`
            result.append(parameter | {"schema": _not_null(field)})
    return result


def _inner_description(field: dict[str, Any]) -> str | None:
    return next((part["description"] for part in field.get("anyOf", ()) if "description" in part), None)


def _not_null(field: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter. An optional one is left out, never null."""
    parts = [part for part in field.get("anyOf", ()) if part.get("type") != "null"]
    if len(parts) == 1:
        return {key: value for key, value in parts[0].items() if key != "description"}
    return {key: value for key, value in field.items() if not (key == "default" and value in (None, []))}


def _request_header(header: Header) -> dict[str, Any]:
    return {
        "name": header.name,
        "in": "header",
        "required": False,
        "description": header.description,
        "schema": dict(header.schema),
    }


def _request_body(bound: Bound) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": {"$ref": _REF.format(name=bound.body_type.__name__)}}
    if bound.operation.body_example is not None:
        media["example"] = bound.operation.body_example
    return {
        "required": not bound.operation.body_optional,
        "description": "JSON in UTF-8." + _WARNING_TEXT,
        "content": {"application/json": media},
    }


def _answer(bound: Bound) -> dict[str, Any]:
    operation = bound.operation
    media: dict[str, Any] = {"schema": {"type": "string"}}
    if operation.media_type == "application/json":
        media = {"schema": {"type": "object"}}
        if bound.answer_type is not Nothing and isinstance(bound.answer_type, type):
            media = {"schema": {"$ref": _REF.format(name=bound.answer_type.__name__)}}
    if operation.answer_example is not None:
        media["example"] = operation.answer_example
    return {operation.media_type.partition(";")[0]: media}


def _responses(bound: Bound, more_problems: tuple[ProblemType, ...]) -> dict[str, Any]:
    operation = bound.operation
    headers = {header.name: _response_header(header) for header in (_REQUEST_ID, *operation.response_headers)}
    result: dict[str, Any] = {
        str(operation.status): {
            "description": http.HTTPStatus(operation.status).phrase,
            "headers": headers,
            "content": _answer(bound),
        }
    }
    for status, text in operation.more_statuses.items():
        content = {} if status in (304, 307) else {"content": _answer(bound)}
        result[str(status)] = {"description": text, "headers": headers, **content}
    by_status: dict[int, list[ProblemType]] = {}
    for problem in _problem_kinds([bound], more_problems):
        by_status.setdefault(problem.status, []).append(problem)
    for status, kinds in sorted(by_status.items()):
        result.setdefault(str(status), _problem_response(kinds))
    return result


def _problem_kinds(bounds: Sequence[Bound], more_problems: tuple[ProblemType, ...]) -> list[ProblemType]:
    found = [kind for bound in bounds for kind in (*_implied(bound), *bound.operation.problems)]
    return sorted(dict.fromkeys((*found, *more_problems)), key=lambda kind: (kind.status, kind.code))


def _response_header(header: Header) -> dict[str, Any]:
    return {"description": header.description, "schema": dict(header.schema)}


def _implied(bound: Bound) -> list[ProblemType]:
    """Return the problems that follow from the form of an operation."""
    implied = [] if bound.public else [problems.UNAUTHENTICATED]
    if bound.operation.gate == "data":
        implied.append(problems.FOREIGN_ORIGIN)
    if bound.path_type is not Nothing:
        implied.append(problems.NOT_FOUND)
    implied += [problems.MALFORMED_QUERY, problems.VALIDATION_FAILED, problems.NOT_ACCEPTABLE]
    if bound.operation.request_headers:
        implied.append(problems.MALFORMED_HEADER)
    if bound.takes_body:
        implied += [problems.MALFORMED_JSON, problems.BODY_TIMEOUT]
        implied += [problems.BODY_TOO_LARGE, problems.BODY_TOO_COMPLEX, problems.UNSUPPORTED_MEDIA_TYPE]
        implied.append(problems.TOO_MANY_BODIES)
    return implied


def _problem_response(kinds: Sequence[ProblemType]) -> dict[str, Any]:
    examples = {kind.code: {"$ref": f"#/components/examples/{kind.code}"} for kind in kinds}
    return {
        "description": "; ".join(kind.title for kind in kinds),
        "headers": {"X-Request-Id": _response_header(_REQUEST_ID)},
        "content": {
            "application/problem+json": {"schema": {"$ref": _REF.format(name="ProblemDetails")}, "examples": examples}
        },
    }


def _problem_example(kind: ProblemType) -> Any:
    problem = problems.RequestProblem(kind)
    if kind is problems.VALIDATION_FAILED:
        faults = [Fault("/image", "is required"), Fault("/priority", "must be at most 100")]
        problem = problems.RequestProblem(kind, "2 faults; the first: /image: is required", faults=faults)
    document = problems.details(problem, instance="/v1/jobs", request_id="3f1c9a5be2d0-1")
    return msgspec.to_builtins(document)
