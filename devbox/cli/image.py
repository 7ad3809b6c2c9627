"""Verbs around images: image ls|render|lint|build|push|prune."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from devbox.cli.common import (
    F,
    confirm,
    echo,
    json_option,
    narrate,
    page,
    print_json,
    quiet_option,
    yes_option,
)

if TYPE_CHECKING:
    from devbox.images.lint import Finding
    from devbox.images.plan import Plan
    from devbox.images.render import Rendered
    from devbox.providers.docker.engine import Engine
    from devbox.spec import Spec


def _complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from devbox.images import templates

    return [t.name for t in templates.catalogue() if t.name.startswith(incomplete)]


def _image_argument(function: F) -> F:
    return click.argument("image", metavar="[IMAGE]", default="", shell_complete=_complete)(
        function
    )


def _args_option(function: F) -> F:
    return click.option(
        "--arg", "args", multiple=True, metavar="NAME=VALUE", help="Build argument, e.g. BASE=…"
    )(function)


def _without_option(function: F) -> F:
    return click.option(
        "--without",
        multiple=True,
        metavar="LAYER",
        help="Leave out python, torch, requirements, sources, box or code.",
    )(function)


@click.group("image")
def image_command() -> None:
    """Dockerfiles from templates, linted, built and pushed."""


@image_command.command("ls")
@json_option
def ls(as_json: bool) -> None:
    """List the templates."""
    import msgspec

    from devbox.images import templates

    found = templates.catalogue()
    if as_json:
        rows = [
            {k: v for k, v in msgspec.to_builtins(each).items() if k not in ("folder", "variants")}
            for each in found
        ]
        print_json("images", templates=rows)
        return
    for each in found:
        torch = each.torch[0].replace("==", " ") if each.torch else "no torch"
        echo(f"{each.name:18} py{each.python:8} {torch:20} {each.summary}")


@image_command.command("render")
@_image_argument
@click.option("--target", type=click.Choice(["docker", "space", "modal"]), default="docker")
@click.option(
    "--write", "folder", type=click.Path(path_type=Path), help="Write all files into this folder."
)
@_without_option
def render(image: str, target: str, folder: Path | None, without: tuple[str, ...]) -> None:
    """Print IMAGE's Dockerfile; with --write also the files it copies."""
    from devbox.images import render as rendering

    made = rendering.render(_chosen(image), target, without=without)  # type: ignore[arg-type]
    if folder is None:
        page(made.dockerfile, nl=False)
        return
    if target == "space":
        made = _with_metadata(made, folder)
    rendering.write(made, folder)
    narrate(f"wrote {', '.join(sorted(['Dockerfile', *made.files]))} into {folder}")


@image_command.command("lint")
@click.argument("images", nargs=-1, metavar="[IMAGE]…", shell_complete=_complete)
@_args_option
@json_option
def lint(images: tuple[str, ...], args: tuple[str, ...], as_json: bool) -> None:
    """Check IMAGE, a template or a Dockerfile; by default what devbox.toml names."""
    from devbox.images import lint_image

    project = _project()
    found: list[tuple[str, Finding]] = []
    for image in images or [_chosen("")]:
        root = project.root if project.root != Path() else None
        given = _given(project, image, args)
        found += [(image, each) for each in lint_image.check(image, root, args=given)]
    if as_json:
        print_json("lint", findings=[{"image": image, **each._asdict()} for image, each in found])
    else:
        for image, each in found:
            echo(f"{image}: {each}")
        if not found:
            narrate("nothing found")
    if any(each.level == "error" for _, each in found):
        sys.exit(1)


@image_command.command("build")
@_image_argument
@_args_option
@_without_option
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="ID=REFERENCE",
    help="For RUN --mount=type=secret,id=ID; env:NAME, file:PATH, keyring:NAME.",
)
@click.option("--network", default="", metavar="MODE", help="Build network mode, e.g. host.")
@click.option("--again", is_flag=True, help="Ignore every cache.")
@click.option("--no-lint", is_flag=True, help="Build in spite of lint errors.")
@quiet_option
@json_option
def build(
    image: str,
    args: tuple[str, ...],
    without: tuple[str, ...],
    secrets: tuple[str, ...],
    network: str,
    again: bool,
    no_lint: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Build IMAGE with the project's files; a no-op when nothing has changed."""
    from devbox import secrets as references
    from devbox.images import build as building

    planned = _plan(image, args, without)
    for warning in planned.warnings:
        narrate(f"warning: {warning}")
    if not no_lint:
        _lint(planned, _chosen(image))
    values = {name: references.resolve(ref) for name, ref in _pairs(secrets, "--secret").items()}
    made = _engine().call(
        f"building {planned.image}",
        lambda api: building.build(
            api,
            planned,
            say=(lambda _: None) if quiet else narrate,
            secrets=values,
            network=network,
            again=again,
        ),
    )
    if as_json:
        print_json("build", **made._asdict())
        return
    took = f"built in {made.seconds:.1f} s" if made.fresh else "already built, nothing has changed"
    narrate(f"{planned.image}: {took}")
    echo(made.reference)


@image_command.command("push")
@click.argument("target", metavar="REGISTRY/REPOSITORY[:TAG]")
@_image_argument
@_args_option
@_without_option
@quiet_option
def push(
    target: str, image: str, args: tuple[str, ...], without: tuple[str, ...], quiet: bool
) -> None:
    """Push IMAGE as it was built last from the present files."""
    from devbox.images import push as pushing

    pushing.split(target)
    planned = _plan(image, args, without)
    say = (lambda _: None) if quiet else narrate
    pinned = _engine().call(
        f"pushing {target}", lambda api: pushing.push(api, planned.reference, target, say=say)
    )
    echo(pinned)


@image_command.command("prune")
@click.option(
    "--keep", default=1, show_default=True, type=click.IntRange(0), help="Newest to keep."
)
@click.option("--all", "everywhere", is_flag=True, help="Of all projects, not only this one.")
@yes_option
@json_option
def prune(keep: int, everywhere: bool, yes: bool, as_json: bool) -> None:
    """Remove older builds of this project's images."""
    from devbox.images import prune as pruning

    project = None if everywhere else _project().project
    confirm(f"Remove all but the newest {keep} of each image?", yes=yes)
    removed = _engine().call(
        "removing images", lambda api: pruning.prune(api, project=project, keep=keep)
    )
    if as_json:
        print_json("prune", removed=[each._asdict() for each in removed])
        return
    for each in removed:
        echo(" ".join(each.references) or each.id)
    narrate(f"removed {len(removed)}")


def _with_metadata(made: Rendered, folder: Path) -> Rendered:
    """With what the Hub wants in README.md, above what the folder's own says."""
    from devbox.providers.hf import image as space

    file = folder / space.README
    own = file.read_bytes() if file.is_file() else b""
    if space.has_metadata(own):
        return made
    readme = space.readme(_project().project, own)
    return made._replace(files={**made.files, space.README: readme})


def _plan(image: str, args: tuple[str, ...], without: tuple[str, ...]) -> Plan:
    from devbox.images import plan

    project = _project()
    root = project.root if project.root != Path() else None
    chosen = _chosen(image)
    given = _given(project, chosen, args)
    return plan.plan(chosen, root, project=project.project, args=given, without=without)


def _given(project: Spec, image: str, args: tuple[str, ...]) -> dict[str, str]:
    """The build arguments of the boxes that have the image, and over them those typed."""
    found: dict[str, str] = {}
    for box in project.boxes.values():
        if box.image == image:
            found |= box.build_args
    return found | _pairs(args, "--arg")


def _lint(planned: Plan, image: str) -> None:
    """Stops a build that cannot work or would leak; what is merely unwise is told. What Dev Mode
    asks for stops a Space's only."""
    from devbox.errors import SpecError
    from devbox.images import lint_image, templates
    from devbox.providers import registry

    found = lint_image.check_plan(planned)
    for each in found:
        narrate(f"lint: {each}")
    project = _project()
    used = {box.provider for box in project.boxes.values() if box.image == image}
    dev_mode = any(registry.load(name, project.provider(name)).dev_mode for name in used)
    excused = () if dev_mode or templates.known(image) else ("dev-mode", "non-root")
    if any(each.level == "error" and each.rule not in excused for each in found):
        raise SpecError(
            f"{planned.image} has lint errors",
            means="nothing was built",
            fix="change what is named above, or build in spite of it with --no-lint",
        )


def _engine() -> Engine:
    """The one that docker boxes are on."""
    from devbox.providers.docker import engine

    return engine.of(_project())


def _project() -> Spec:
    from devbox import spec

    return spec.load(spec.find(Path.cwd()))


def _chosen(image: str) -> str:
    """The image named, else the one that the project's boxes have. UsageError for several."""
    from devbox.errors import UsageError

    if image:
        return image
    used = {box.image for box in _project().boxes.values() if box.image}
    if len(used) > 1:
        raise UsageError(
            f"the boxes have several images: {', '.join(sorted(used))}", fix="name one of them"
        )
    return next(iter(used), "cpu")


def _pairs(given: tuple[str, ...], option: str) -> dict[str, str]:
    from devbox.errors import UsageError

    found: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} needs NAME=VALUE")
        found[name] = value
    return found
