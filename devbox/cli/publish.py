"""`devbox publish`: a model package to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

import click

from devbox.cli.common import echo, json_option, print_json, quiet_option, workspace


@click.command("publish")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--variant", default="medium", show_default=True, help="Which model it is.")
@click.option("--version", help="Goes into VERSION and becomes a git tag.")
@click.option("--profile", type=click.Choice(["code", "guide"]), help="Shipped parameter counts.")
@click.option("--private", is_flag=True, help="Only you can read the repository.")
@click.option("--no-upload", is_flag=True, help="Check and lay out the package only.")
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("hf_upload"),
    show_default=True,
    help="The package's folder; replaced when devbox made it.",
)
@click.option("--repo-name", help='The repository, as "me/name".')
@click.option("--model-card", type=click.Path(path_type=Path), help="Becomes README.md.")
@click.option("--skip-validation", is_flag=True, help="Check only that the file can be read.")
@click.option("--token-from", default="", help="Reference to the token: env:NAME, file:PATH, …")
@click.option("--dataset", type=click.Path(path_type=Path), help="Uploaded after the model.")
@click.option("--dataset-repo", default="GesturaAI/stick-gen-dataset", show_default=True)
@json_option
@quiet_option
def publish_command(
    checkpoint: Path,
    variant: str,
    version: str | None,
    profile: str | None,
    private: bool,
    no_upload: bool,
    output_dir: Path,
    repo_name: str | None,
    model_card: Path | None,
    skip_validation: bool,
    token_from: str,
    dataset: Path | None,
    dataset_repo: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check CHECKPOINT, lay out its package, and upload it to the Hugging Face Hub.

    The file is never executed. A failed check ends with exit code 18 and nothing uploaded; it
    never asks. --json prints the report in either case.
    """
    from devbox import secrets
    from devbox.errors import DevboxError
    from devbox.providers.hf.model_repo import check_tag
    from devbox.publish import package, upload, variants

    ws = workspace(quiet=quiet or as_json)
    table = ws.spec.publish
    version = check_tag(version) if version else ""
    if token_from:
        secrets.check(token_from)
    chosen = variants.choose(table, variant, profile or "")
    request = package.Request(
        checkpoint,
        chosen,
        table,
        ws.spec.root,
        output_dir.absolute(),
        card=str(model_card or ""),
        version=version,
        skip=skip_validation,
    )
    where = upload.Where(
        repo_name or chosen.variant.repo, private, token_from, dataset, dataset_repo
    )
    report: package.Report = {}
    try:
        package.make(request, report, ws.narrate)
        if not no_upload:
            upload.upload(ws, request.output, version, where, report)
    except DevboxError as error:
        report |= {"ok": False, "error": error.what, "fix": error.fix}
        raise
    finally:
        if as_json:
            print_json("publish", **report)
    if not as_json:
        echo(report["upload"]["page"] if not no_upload else report["folder"])
