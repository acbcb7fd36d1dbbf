"""`srdeploy info`: what this machine can run, or what a model file says of itself."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from srdeploy.cli.answer import expected_errors, print_json, say
from srdeploy.cli.options import Json


def info(
    model: Annotated[
        str | None, typer.Argument(help="A shipped name, or the path of an .onnx. Default: the machine.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show engines, models and library versions; or every fact that a model file carries.

    Example: srdeploy info espcn-x4
    """
    with expected_errors(as_json):
        document = _machine() if model is None else _model(model)
    if as_json:
        print_json(document)
    elif model is None:
        _print_machine(document)
    else:
        _print_facts(document)


def _machine() -> dict[str, Any]:
    from srdeploy import zoo
    from srdeploy.backends import available
    from srdeploy.environment import cores, environment

    return {"backends": available(), "models": zoo.names(), "environment": {**environment(), "cores": cores()}}


def _model(model: str) -> dict[str, Any]:
    from srdeploy import zoo
    from srdeploy.backends import open_session

    path = zoo.find(model)
    if path.suffix.lower() == ".engine":
        from srdeploy.backends.engine_file import read_engine

        engine = read_engine(path)
        facts = {**asdict(engine.spec), "engine_precision": engine.precision, "build": dict(engine.build)}
        return {**facts, "path": str(path), "bytes": path.stat().st_size}
    session = open_session(path, device="cpu", threads=1)
    return {**asdict(session.spec), "path": str(path), "bytes": path.stat().st_size}


def _print_machine(document: dict[str, Any]) -> None:
    environment = document["environment"]
    say(f"srdeploy {environment['srdeploy']}, Python {environment['python']}, {environment['system']}")
    say(f"cores: {environment['cores']}")
    for backend in document["backends"]:
        state = (
            f"available: {', '.join(backend['devices'])}"
            if backend["available"]
            else f"not available: {backend['why_not']}"
        )
        say(f"backend {backend['name']}: {state}")
    say(f"models: {', '.join(document['models'])}")
    say("libraries: " + ", ".join(f"{name} {number}" for name, number in environment["libraries"].items()))


def _print_facts(facts: dict[str, Any], indent: str = "") -> None:
    for key, value in facts.items():
        if isinstance(value, dict):
            say(f"{indent}{key}:")
            _print_facts(value, indent + "  ")
        else:
            say(f"{indent}{key}: {value}")
