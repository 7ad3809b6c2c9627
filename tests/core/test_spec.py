"""devbox.toml: merged in order, refused with file, key and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox import spec
from devbox.errors import SpecError
from tests.core.hostile import ALL


def _load(home: Path, project: str, user: str = "") -> spec.Spec:
    (home / "devbox.toml").write_text(project, encoding="utf-8", errors="surrogatepass")
    (home / "user.toml").write_text(user)
    return spec.load(home / "devbox.toml", home / "user.toml")


def test_later_layers_win_and_every_value_knows_its_origin(home: Path) -> None:
    merged = _load(
        home,
        '[defaults]\nhardware = "p"\n[boxes.c]\n[boxes.a]\nhardware = "b"\nidle = {warn = "1m"}\n',
        '[defaults]\nhardware = "u"\nmax_uptime = "2h"\nidle = {after = "10m", warn = "9m"}\n',
    )
    a, c = merged.boxes["a"], merged.boxes["c"]
    assert (a.hardware, c.hardware) == ("b", "p")
    times = [float(t) for t in (a.max_uptime, a.idle.after, a.idle.warn, c.idle.warn)]
    assert times == [7200, 600, 60, 540]
    assert merged.origins["boxes.a.hardware"].endswith("devbox.toml")
    assert "user.toml" in merged.origins["boxes.a.max_uptime"]


def test_a_frozen_box_reads_back_equal(home: Path) -> None:
    box = _load(
        home, '[boxes.a]\nvram = "24GB"\n[boxes.a.volumes.d]\nsource="s"\nmount="/d"'
    ).boxes["a"]
    assert spec.decode_box(spec.encode_box(box)) == box


@pytest.mark.parametrize(
    ("toml", "what", "fix"),
    [
        ('[boxes.t]\nprovder = "x"', "unknown key boxes.t.provder", "did you mean 'provider'?"),
        ('[boxes.t.idle]\naftr = "1m"', "unknown key boxes.t.idle.aftr", "did you mean 'after'?"),
        ('[boxes.t]\nmax_uptime = "xx"', "boxes.t.max_uptime: 'xx' is not a duration", "edit"),
        ('[boxes.t.build_args]\n"a b" = "1"', "boxes.t.build_args.a b", ""),
        ("x = 1", "unknown key x", "the keys here are"),
        ("boxes = 3", "boxes must be a table", "[boxes.dev]"),
        ("[boxes]\na = 1", "boxes.a must be a table", "[boxes.a]"),
        ("costs = 3", "costs must be a table", "[costs.dev]"),
        ("[boxes.t]\nhardware = 3", "boxes.t.hardware: Expected `str | array`", "edit"),
        ("defaults = 3", "defaults must be a table", "edit"),
        ('[boxes.t]\nworkdir = "../x"', "boxes.t.workdir", "no '..'"),
        ('[boxes.t]\nsetup = ["a", " "]', "boxes.t.setup: line 2 is empty", "leave it out"),
        ('[boxes.t]\ndotfiles = "-oProxyCommand=x"', "boxes.t.dotfiles", "for example"),
        ('[boxes.t]\ndotfiles = "ext::sh -c x"', "boxes.t.dotfiles", "for example"),
        (
            '[boxes.t]\ndotfiles = "https://me:pw@x.org/d"',
            "dotfiles holds a password",
            "public repository",
        ),
        ('[boxes."-x"]', "boxes.-x", "lower-case"),
        ("[boxes.t\n", "not valid TOML", "edit"),
        ("root = 'x'", "unknown key root", "keys here"),
        ('[jobs.j]\nsummary = "x"', "set exactly one of module and command", "command ="),
        ('[boxes.t]\nmax_uptime = "0s"', "above 0", ""),
        ('[checkpoints.c]\nsource = "gs://x"\npath = "../../c"', "checkpoints.c.path", "'..'"),
        ('[checkpoints.c]\nsource = "gs://x"\npath = "c"', "checkpoints.c.source", "gs://BUCKET/"),
        ('[checkpoints.c]\nsource = "c.pt"\npath = "c"', "checkpoints.c.source", "hf://OWNER"),
        ('[checkpoints.c]\nsource = "hf://a/b/../c"\npath = "c"', "c.source", "no path inside"),
        ('[checkpoints.c]\nsource = "http://h/c"\npath = "c"', "c.source", "its sha256"),
        (
            '[checkpoints.c]\nsource = "https://h/c"\npath = "c"\nsha256 = "x"',
            "checkpoints.c.sha256",
            "edit",
        ),
        (
            '[checkpoints.c]\nsource = "hf://a/b"\npath = "c"\nbytes = 5',
            "its source is a folder",
            "name a file",
        ),
        (
            '[checkpoints.c]\nsource = "hf://a/b@v1/c"\npath = "c"\nrevision = "v2"',
            "checkpoints.c.source",
            "a revision already",
        ),
        (
            '[checkpoints.c]\nsource = "gs://bucket/c"\npath = "c"\nrevision = "v2"',
            "checkpoints.c.source",
            "only hf://",
        ),
        (
            '[checkpoints.c]\nsource = "hf://a/b/c"\npath = "c"\npage = "javascript:x"',
            "checkpoints.c.page",
            "edit",
        ),
    ],
)
def test_mistakes_name_file_key_and_fix(home: Path, toml: str, what: str, fix: str) -> None:
    with pytest.raises(SpecError) as caught:
        _load(home, toml)
    assert what in caught.value.what
    assert str(home / "devbox.toml") in caught.value.what
    assert fix in caught.value.fix


def test_a_secret_typed_as_a_value_is_refused_and_not_repeated(home: Path) -> None:
    with pytest.raises(SpecError) as caught:
        _load(home, '[boxes.t.secrets]\nTOKEN = "hf_verysecretvalue"')
    assert "verysecret" not in caught.value.render()
    assert "env:NAME" in caught.value.fix


@pytest.mark.parametrize("text", ALL, ids=range(len(ALL)))
def test_hostile_values_give_a_clear_error_or_a_valid_spec(home: Path, text: str) -> None:
    quoted = (
        '"'
        + "".join(f"\\U{ord(c):08x}" if not 0xD800 <= ord(c) < 0xE000 else "\\ud800" for c in text)
        + '"'
    )
    for toml in (
        f"[boxes.{quoted}]",
        f"[boxes.t]\nworkdir = {quoted}",
        f"project = {quoted}",
        f"{quoted} = 1",
    ):
        try:
            _load(home, toml)
        except SpecError as error:
            assert len(error.render()) < 1500
            assert not any(ord(c) < 32 and c not in "\n\t" for c in error.render())


def test_no_file_at_all_is_an_empty_spec(home: Path) -> None:
    assert spec.load(None, home / "none.toml").boxes == {}


def test_the_nearest_file_above_is_found(home: Path) -> None:
    deep = home / "a" / "b"
    deep.mkdir(parents=True)
    (home / "devbox.toml").write_text("")
    assert spec.find(deep) == home / "devbox.toml"


def test_every_template_is_a_valid_spec(home: Path) -> None:
    from devbox import templates

    for template in templates.catalogue():
        folder = home / template.name
        folder.mkdir()
        templates.write(template, folder)
        assert spec.load(folder / "devbox.toml", home / "none.toml").boxes


@pytest.mark.parametrize(
    ("toml", "what", "fix"),
    [
        (
            '[providers.local]\ndocker_host = "unix:///x"',
            "unknown key providers.local.docker_host",
            "it is a key of [providers.docker]; the keys here are: price",
        ),
        ("[providers.hf]\nprice = 1.0", "unknown key providers.hf.price", "[providers.local]"),
        ("[providers.hf-space]", "unknown key providers.hf-space", "write [providers.hf]"),
        ("[providers.aws]", "unknown key providers.aws", "the keys here are: local, ssh"),
        (
            '[boxes.b]\nspace = "me/x"',
            "boxes.b.space is a key of hf-space boxes, and b is a local box",
            'leave space out, or set provider = "hf-space" in [boxes.b]',
        ),
        (
            f'[boxes.{"n" * 35}]\nprovider = "hf-job"\nnetwork_group = "train"',
            "at most 34 characters",
            "shorter name",
        ),
        (
            '[boxes.b]\nprovider = "hf-job"\nnetwork_group = "My group"',
            "network_group",
            "edit",
        ),
        (
            '[defaults]\nprovider = "modal"\n[boxes.b]\npause_command = ["halt"]',
            "boxes.b.pause_command is a key of ssh boxes, and b is a modal box",
            "leave pause_command out",
        ),
        ('[boxes.b]\nprovider = "model"', "there is no provider 'model'", "did you mean 'modal'?"),
    ],
)
def test_a_setting_of_another_provider_is_refused(
    home: Path, toml: str, what: str, fix: str
) -> None:
    with pytest.raises(SpecError) as caught:
        _load(home, toml)
    assert what in caught.value.what
    assert fix in caught.value.fix


def test_defaults_are_for_boxes_of_all_providers(home: Path) -> None:
    loaded = _load(home, '[defaults]\nregion = "us"\n[boxes.a]\n[boxes.b]\nprovider = "modal"')
    assert loaded.boxes["b"].region == "us"
    assert loaded.boxes["a"].provider == "local"


def test_an_old_name_of_a_key_is_read_and_told(home: Path) -> None:
    loaded = _load(
        home,
        '[boxes.a.idle]\nstuck_after = "1h"\n[boxes.b]\n',
        '[defaults.idle]\nstuck_after = "3h"\n',
    )
    seconds = {name: float(box.idle.idle_vram_after) for name, box in loaded.boxes.items()}
    assert seconds == {"a": 3600, "b": 10800}
    assert loaded.outdated == (
        f"{home}/user.toml: defaults.idle.stuck_after is idle_vram_after now; "
        "the old name is read until 1.0",
        f"{home}/devbox.toml: boxes.a.idle.stuck_after is idle_vram_after now; "
        "the old name is read until 1.0",
    )
    both = _load(home, '[boxes.a.idle]\nstuck_after = "1h"\nidle_vram_after = "2h"\n')
    assert float(both.boxes["a"].idle.idle_vram_after) == 7200


def test_a_revision_becomes_part_of_the_source(home: Path) -> None:
    found = _load(home, '[checkpoints.c]\nsource = "hf://a/b/c.pt"\npath = "c"\nrevision = "v1"')
    assert found.checkpoints["c"].origin == "hf://a/b@v1/c.pt"
