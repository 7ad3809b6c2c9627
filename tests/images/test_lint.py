"""Lint: each rule on the Dockerfile that breaks it, and what cannot go together."""

from __future__ import annotations

import pytest

from devbox.images import compat, dockerfile, lint, render, templates
from devbox.images.compat import Stack

GOOD = render.render("cpu").dockerfile


def rules(text: str, **options: object) -> set[tuple[str, str]]:
    return {(each.level, each.rule) for each in lint.lint(text, **options)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (("python:3.12.11-slim-bookworm", "python"), ("error", "pin-base")),
        (("python:3.12.11-slim-bookworm", "python:latest"), ("error", "pin-base")),
        (("procps", "vim"), ("error", "dev-mode")),
        (("git-lfs", "vim"), ("error", "dev-mode")),
        (("WORKDIR /app", "WORKDIR /src"), ("error", "dev-mode")),
        (("CMD ", "LABEL x="), ("error", "dev-mode")),
        (("USER 1000", "USER root"), ("error", "non-root")),
        (("WORKDIR", "RUN pip install requests\nWORKDIR"), ("error", "pin-package")),
        (("WORKDIR", "RUN pip install 'requests>=2'\nWORKDIR"), ("error", "pin-package")),
        (("WORKDIR", "RUN pip install git+https://h/a/b.git\nWORKDIR"), ("error", "pin-package")),
        (("WORKDIR", "RUN uv pip install 'a @ git+https://h/b'\nWORKDIR"),
         ("error", "pin-package")),
        (("WORKDIR", "RUN git clone https://h/a\nWORKDIR"), ("error", "pin-source")),
        (("WORKDIR", "ADD https://h/a.tar /x\nWORKDIR"), ("warn", "pin-download")),
        (("WORKDIR", "RUN curl -fsS https://h/i.sh | sh\nWORKDIR"), ("warn", "pin-download")),
        (("WORKDIR", "ENV HF_TOKEN=abc\nWORKDIR"), ("error", "secret")),
        (("WORKDIR", "ENV HF_TOKEN abc\nWORKDIR"), ("error", "secret")),
        (("WORKDIR", "ARG HF_TOKEN\nWORKDIR"), ("error", "secret")),
        (("WORKDIR", "ARG API_KEY=\nWORKDIR"), ("error", "secret")),
        (("WORKDIR", "COPY conf/.env /app/\nWORKDIR"), ("error", "secret")),
        (("WORKDIR", f"RUN x --with hf_{'a' * 34}\nWORKDIR"), ("error", "secret")),
        (("WORKDIR", "RUN pip install -i https://me:word@h/s a==1\nWORKDIR"), ("error", "secret")),
        (("WORKDIR", "COPY . /app\nRUN pip install a==1\nWORKDIR"), ("warn", "layer-order")),
        (("WORKDIR", "RUN pip install pyrender==0.1.45\nWORKDIR"), ("error", "egl")),
    ],
)  # fmt: skip
def test_each_rule(change: tuple[str, str], rule: tuple[str, str]) -> None:
    assert rule not in rules(GOOD)
    assert change[0] in GOOD
    assert rule in rules(GOOD.replace(*change))


@pytest.mark.parametrize(
    "line",
    [
        "RUN --mount=type=secret,id=token cat /run/secrets/token",
        "RUN pip install 'a==1.0' b[extra]==2 -r requirements.txt --index-url https://h/packages",
        "RUN pip install 'a @ git+https://h/a@" + "0" * 40 + "'",
        "RUN git clone https://h/a && git -C a checkout 0123456789abcdef",
        "RUN pip install .",
        "ENV TOKENIZERS_PARALLELISM=false",
        "ENV HF_TOKEN=",
        "COPY .env.example /app/",
        "RUN <<EOF\npip install a==1\nCMD x\nEOF",
    ],
)
def test_what_is_fine(line: str) -> None:
    assert rules(GOOD.replace("WORKDIR", f"{line}\nWORKDIR")) == set()


def test_a_line_is_told_and_a_non_dockerfile_is_one_finding() -> None:
    (found,) = lint.lint(GOOD.replace("WORKDIR", "ARG MY_SECRET\nWORKDIR"))
    assert GOOD.splitlines()[found.line - 2].strip() == ""
    assert "ARG MY_SECRET stays readable" in str(found)
    assert [each.rule for each in lint.lint("hello")] == ["syntax"]
    placed = [each for each in lint.lint("# one\n\n# two\nFROM python\n") if each.line]
    assert [(each.rule, each.line) for each in placed] == [("pin-base", 4)]


def test_sam3_on_cuda_12_1_cannot_work_and_it_says_why() -> None:
    text = (
        render.render("cuda12.1", without=["requirements"]).dockerfile
        + "RUN uv pip install 'sam3 @ git+https://github.com/facebookresearch/sam3@"
        + "0" * 40
        + "'\n"
    )
    reasons = " ".join(each.message for each in lint.lint(text) if each.rule == "compat")
    assert "SAM 3 needs CUDA 12.6" in reasons
    assert "torch 2.7" in reasons
    assert "Python 3.12" in reasons
    assert "cu121 ends at 2.5.1" in reasons


@pytest.mark.parametrize(
    "value", ["https://me:word@h/packages", "https://hf_" + "a" * 34 + "@h/s", "ghp_" + "a" * 36]
)
def test_a_build_argument_is_no_place_for_a_password(value: str) -> None:
    assert ("error", "secret") not in rules(GOOD, args={"PIP_INDEX": "https://h/packages"})
    (found,) = lint.lint(GOOD, args={"PIP_INDEX": value})
    assert (found.level, found.rule) == ("error", "secret")
    assert "PIP_INDEX" in found.message
    assert "me:word" not in found.message
    assert "aaaa" not in found.message


def test_build_arguments_count() -> None:
    text = render.render("sam-body4d").dockerfile
    systems = templates.get("sam-body4d").systems
    found = lint.lint(text, args={"PYTHON": "3.11"}, systems=systems)
    assert any("SAM-Body4D needs Python 3.12" in each.message for each in found)
    other = lint.lint(text, args={"BASE": "nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04"})
    assert any("has no nvcc" in each.message for each in other)


@pytest.mark.parametrize(
    ("stack", "level", "words"),
    [
        (Stack(torch=(2, 7, 1), wheel_cuda=(12, 1)), "error", "last torch with cu121 wheels"),
        (Stack(torch=(2, 8, 0), wheel_cuda=(11, 8)), "error", "no wheels for cu118"),
        (Stack(torch=(2, 5, 1), python=(3, 13)), "error", "Python 3.9 to 3.12"),
        (Stack(torch=(2, 5, 1), packages={"torchvision": "0.22.1+cu121"}), "error", "0.20"),
        (Stack(torch=(2, 5, 1), packages={"torchaudio": "2.7.1"}), "error", "2.5"),
        (Stack(base_cuda=(12, 6), packages={"gsplat": "1.5.3"}), "error", "no nvcc"),
        (Stack(base_cuda=(11, 8), wheel_cuda=(12, 1), devel=True,
               packages={"detectron2": "git"}), "error", "major"),
        (Stack(base_cuda=(12, 6), wheel_cuda=(12, 1), devel=True,
               packages={"detectron2": "git"}), "warn", "as a rule"),
        (Stack(systems=frozenset(["sharp"]), torch=(2, 7, 1)), "error", "torch 2.8.0"),
        (Stack(systems=frozenset(["sharp"]), python=(3, 12)), "warn", "3.13"),
        (Stack(packages={"opencv-python": "4.12.0.88", "numpy": "1.26.4"}), "error", "NumPy 2"),
        (Stack(packages={"chumpy": "0.70"}, python=(3, 11)), "error", "getargspec"),
        (Stack(packages={"chumpy": "0.70", "numpy": "1.26.4"}), "error", "numpy.bool"),
        (Stack(torch=(2, 2, 0), packages={"numpy": "2.1.0"}), "error", "NumPy 1"),
    ],
)  # fmt: skip
def test_what_cannot_go_together(stack: Stack, level: str, words: str) -> None:
    ((found, reason),) = compat.problems(stack)
    assert found == level
    assert words in reason


@pytest.mark.parametrize(
    "stack",
    [
        Stack(),
        Stack(torch=(9, 9), wheel_cuda=(12, 1)),
        Stack(torch=(2, 5, 1), wheel_cuda=(12, 1), python=(3, 11), packages={"numpy": "2.1.0"}),
        Stack(torch=(2, 7, 1), wheel_cuda=(12, 6), python=(3, 12), systems=frozenset(["sam3"])),
        Stack(packages={"opencv-python": "4.11.0.86", "numpy": "1.26.4"}),
        Stack(packages={"chumpy": "git"}, python=(3, 11)),
    ],
)
def test_what_goes_together_or_is_unknown(stack: Stack) -> None:
    assert compat.problems(stack) == []


def test_instructions() -> None:
    found = dockerfile.parse(
        "# escape=`\nARG V=1\nFROM a:$V AS one\nARG V\nENV X=$V Y=${Z:-z}\n"
        "RUN a `\n # inside\n  b $X\nRUN <<E\nCMD no\nE\nFROM one\nCOPY --from=one --chown=1 a b\n"
        "FROM scratch\n"
    )
    assert [each.word for each in found] == (
        ["ARG", "FROM", "ARG", "ENV", "RUN", "RUN", "FROM", "COPY", "FROM"]
    )
    assert found[1].text == "a:1 AS one"
    assert found[3].text == "X=1 Y=z"
    assert found[4].text.split() == ["a", "b", "1"]
    assert (found[4].line, found[5].line) == (6, 9)
    assert found[7].flags == {"from": "one", "chown": "1"}
    assert {each.stage for each in dockerfile.last_stage(found[:-1])} == {1, 2}
    assert {each.stage for each in dockerfile.last_stage(found)} == {3}


SECRET = "ENV HF_TOKEN=abc"
FOUND = ("error", "secret")


@pytest.mark.parametrize(
    "before",
    [
        "RUN echo $((1<<20))",
        "RUN [ $((1<<A)) = 2 ] && echo 1 >/x",
        "RUN cat<<EOF",
        "RUN echo '<<EOF'",
        'RUN echo "a <<EOF b"',
        "RUN echo \\<<EOF",
        "RUN grep a <<<EOF",
        "ENV X=<<EOF",
        "RUN <<EOF\necho a\nEOF",
        "RUN <<-EOF\n\techo a\n\tEOF",
        "RUN <<'EOF'\necho a\nEOF",
        "RUN cat <<A 3<<B\na\nA\nb\nB",
        "COPY\t<<EOF\t/app/x\na\nEOF",
        "ONBUILD RUN <<EOF\necho a\nEOF",
        "RUN echo a\\\\",
        "RUN echo a \\\n  # said \\\n\n  b",
        "RUN echo a\u2028\u0085",
    ],
)
def test_what_is_no_here_document_swallows_nothing(before: str) -> None:
    """A secret below it is seen."""
    assert FOUND in rules(f"FROM a:1\n{before}\n{SECRET}\n")


@pytest.mark.parametrize(
    "inside",
    [
        f"RUN <<EOF\n {SECRET}\n EOF\n{SECRET}\nEOF",
        f"RUN <<-EOF\n  EOF\n{SECRET}\n\tEOF",
        f"RUN <<E'O'F\nEO\n{SECRET}\nEOF",
        f"RUN echo a \\\n  {SECRET}",
        f"# {SECRET}",
        f"RUN a\u2028{SECRET}",
    ],
)
def test_what_belongs_to_another_instruction_is_none_itself(inside: str) -> None:
    """An indented end of a here-document ends none, but for tabs after `<<-`."""
    found = [each.word for each in dockerfile.parse(f"FROM a:1\n{inside}\nCMD x\n")]
    assert [word for word in found if word != "RUN"] == ["FROM", "CMD"]


@pytest.mark.parametrize(
    "text",
    [
        "FROM\ta:1\nENV\tHF_TOKEN=abc",
        "FROM a:1\n\tENV\tHF_TOKEN\tabc",
        "FROM a:1\nENV\vHF_TOKEN=abc",
        "FROM a:1\nARG A=1 HF_TOKEN",
        "\ufeffFROM a:1\nENV HF_TOKEN=abc",
        "FROM a:1\r\nENV HF_TOKEN=abc\r\n",
        "# syntax=docker/dockerfile:1\n# escape=`\nFROM a:1\nRUN dir C:\\\nENV HF_TOKEN=abc",
        "FROM a:1\nEN\\\nV HF_TO\\\nKEN=abc",
        "FROM a:1\nCOPY\t.env\t/app/",
        "FROM a:1\nRUN\t--mount=type=cache,target=/x\tcurl https://me:word@h/s",
    ],
)
def test_white_space_of_any_kind_and_a_byte_order_mark_are_read(text: str) -> None:
    assert FOUND in rules(text)


@pytest.mark.parametrize(
    ("text", "unpinned"),
    [
        ("FROM a:1 AS base\nFROM base AS x\nFROM x", 0),
        ("FROM a:1 as Base\nFROM BASE\tAS\ty", 0),
        ("FROM base AS base", 1),
        ("FROM later AS x\nFROM a:1 AS later", 1),
        ("FROM python", 1),
        ("FROM a:1 AS b\nFROM c", 1),
        ("FROM --platform=linux/amd64 a:1 AS b\nFROM b", 0),
        ("FROM scratch", 0),
        ("FROM", 0),
    ],
)
def test_a_stage_is_pinned_where_the_stage_it_builds_on_is(text: str, unpinned: int) -> None:
    found = lint.lint(text, dev_mode=False)
    assert [each.rule for each in found].count("pin-base") == unpinned


@pytest.mark.parametrize("text", ["FROM", "FROM a:1\nCOPY", "FROM a:1\nADD\nENV\nARG\nUSER\nRUN"])
def test_an_instruction_without_words_is_no_traceback(text: str) -> None:
    assert isinstance(lint.lint(text), list)


def test_a_stage_does_not_build_on_a_later_one_or_itself() -> None:
    found = dockerfile.parse("FROM b AS a\nENV X=1\nFROM a AS b\nFROM b AS b\nENV Y=1")
    assert {each.stage for each in dockerfile.last_stage(found)} == {1, 2, 3}
    found = dockerfile.parse("FROM b AS a\nENV X=1\nFROM c:1 AS b")
    assert {each.stage for each in dockerfile.last_stage(found)} == {2}
