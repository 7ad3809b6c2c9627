"""Lint of an image by name: a template, a Dockerfile, or a plan of either."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from devbox.images import lint, render, templates
from devbox.images import plan as planning
from devbox.images.plan import Plan


def check(
    image: str, root: Path | None, *, args: Mapping[str, str] | None = None
) -> list[lint.Finding]:
    """Findings of a template by name, or of a Dockerfile by path. NotFound for neither."""
    if templates.known(image):
        template = templates.get(image)
        return lint.lint(
            render.render(image).dockerfile,
            args=args,
            requirements=templates.requirements(template),
            systems=template.systems,
        )
    file = planning.dockerfile(image, root)
    return lint.lint(file.read_text(encoding="utf-8", errors="replace"), args=args)


def check_plan(plan: Plan) -> list[lint.Finding]:
    """Findings of what is about to be built."""
    systems = templates.get(plan.image).systems if templates.known(plan.image) else ()
    return lint.lint(
        plan.dockerfile,
        args=plan.args,
        requirements=plan.context.extra.get(f"{render.FOLDER}/requirements.txt", b""),
        systems=systems,
    )
