"""Which box a name means: this project's first, and never silently another project's."""

from __future__ import annotations

import uuid
from pathlib import Path

import msgspec
import pytest

from devbox import paths
from devbox.errors import Conflict, NotFound, UsageError
from devbox.model import BoxState
from devbox.names import name as valid_name
from devbox.state import fast_lookup, lookup
from devbox.state.lookup import Here
from devbox.state.store import Store
from tests.boxes import rewrite
from tests.core.hostile import ALL
from tests.core.test_state import a_box
from tests.old_files import old_file, put_box


@pytest.fixture
def store() -> Store:
    return Store.open()


def a_project(home: Path, name: str) -> Here:
    folder = home / name
    folder.mkdir(parents=True)
    (folder / "devbox.toml").touch()
    return Here(str(folder), folder.name)


def put(store: Store, here: Here, name: str = "dev", **changes: object) -> str:
    """A live box of that project; its id."""
    owner = {"project": here.project, "root": here.root, "id": uuid.uuid4().hex}
    box = a_box(name, **{**owner, **changes})
    store.boxes.insert(box, "running", {}, 1.0)
    return box.id


def test_a_name_means_this_projects_box(home: Path, store: Store) -> None:
    one, two = a_project(home, "one"), a_project(home, "two")
    ids = [put(store, one), put(store, two)]
    assert [store.boxes.pick("dev", here).id for here in (one, two)] == ids
    assert [store.boxes.pick(None, here).id for here in (one, two)] == ids
    with pytest.raises(Conflict, match="exists already"):
        put(store, one, id="again")


def test_another_projects_box_is_named_and_not_touched(home: Path, store: Store) -> None:
    one, two = a_project(home, "one"), a_project(home, "two")
    put(store, one)
    with pytest.raises(Conflict) as caught:
        store.boxes.pick("dev", two)
    assert f"a box of project one ({one.root})" in caught.value.what
    assert "one/dev" in caught.value.fix
    with pytest.raises(NotFound, match=r"live boxes: none; of other projects: one/dev"):
        store.boxes.pick(None, two)
    assert store.boxes.pick("one/dev", two).root == one.root
    assert store.boxes.pick(f"{one.root}/dev", two).root == one.root


def test_outside_any_project_a_unique_name_is_enough(home: Path, store: Store) -> None:
    one, two = a_project(home, "one"), a_project(home, "two")
    outside = Here(str(home), "home", inside=False)
    put(store, one)
    assert store.boxes.pick("dev", outside).root == one.root
    assert store.boxes.pick(None, outside).root == one.root
    put(store, two)
    with pytest.raises(Conflict, match=r"one/dev \(.*two/dev \("):
        store.boxes.pick("dev", outside)
    assert store.boxes.pick("two/dev", outside).root == two.root


def test_two_folders_with_one_project_name_are_told_apart(home: Path, store: Store) -> None:
    one, two = a_project(home, "x/app"), a_project(home, "y/app")
    put(store, one)
    put(store, two)
    outside = Here(str(home), "home", inside=False)
    with pytest.raises(Conflict) as caught:
        store.boxes.pick("app/dev", outside)
    assert "FOLDER/dev" in caught.value.fix
    assert store.boxes.pick(f"{two.root}/dev", outside).root == two.root
    assert store.boxes.pick("dev", one).root == one.root


def test_a_box_of_a_folder_that_was_moved_stays_its_projects(home: Path, store: Store) -> None:
    before = a_project(home, "x/app")
    box = put(store, before)
    (home / "x").rename(home / "z")
    assert store.boxes.pick("dev", Here(str(home / "z/app"), "app")).id == box
    with pytest.raises(Conflict):
        store.boxes.pick("dev", a_project(home, "other"))


def test_a_box_that_is_over_is_this_projects_too(home: Path, store: Store) -> None:
    one, two = a_project(home, "one"), a_project(home, "two")
    put(store, one, state=BoxState.TERMINATED)
    assert store.boxes.pick("dev", one).state is BoxState.TERMINATED
    with pytest.raises(NotFound):
        store.boxes.pick("dev", two)
    put(store, two)
    assert store.boxes.pick("dev", one).root == one.root


def test_the_ssh_alias_is_unique_and_stays_for_life(home: Path, store: Store) -> None:
    heres = [a_project(home, name) for name in ("one", "two", "x/app", "y/app")]
    ids = [put(store, here) for here in heres]
    aliases = [box.alias for box in map(store.boxes.get, ids) if box]
    assert aliases[:3] == ["devbox-dev", "devbox-two-dev", "devbox-app-dev"]
    assert aliases[3].startswith("devbox-app-dev-")
    assert all(valid_name(alias.removeprefix("devbox-")) for alias in aliases)
    first = store.boxes.get(ids[0])
    assert first
    rewrite(store, msgspec.structs.replace(first, state=BoxState.TERMINATED))
    second = store.boxes.get(ids[1])
    assert second
    assert second.alias == "devbox-two-dev"


def test_a_long_name_keeps_a_valid_alias(home: Path, store: Store) -> None:
    long = "n" * 40
    for number, project in enumerate(("a" * 40, "b" * 40)):
        box = a_box(long, project=project, root=project, id=f"{number}abcdef012345")
        store.boxes.insert(box, "running", {}, 1.0)
    slugs = [box.slug for box in store.boxes.all()]
    assert len(set(map(valid_name, slugs))) == 2


def test_hostile_names_mean_no_box(home: Path, store: Store) -> None:
    put(store, a_project(home, "one"))
    for text in ALL:
        for asked in (text, f"{text}/dev", f"one/{text}"):
            with pytest.raises((UsageError, NotFound)):
                store.boxes.pick(asked, Here(str(home), "home", inside=False))


def test_the_fast_look_means_the_same_box(home: Path, store: Store) -> None:
    one, two = a_project(home, "one"), a_project(home, "two")
    endpoint = {"host": "h"}
    for here in (one, two):
        put(store, here, endpoint=endpoint)

    def seen(folder: str, name: str = "dev") -> str | None:
        found = fast_lookup.reachable(paths.state_db(), name, folder)
        return found.alias if found else None

    (Path(two.root) / "deep").mkdir()
    assert seen(one.root) == "devbox-dev"
    assert seen(f"{two.root}/deep") == "devbox-two-dev"
    assert seen(str(home)) is None  # two of them: not for a fast look to say
    assert seen(a_project(home, "three").root) is None
    assert seen(one.root, "one/dev") is None


def test_rows_of_the_first_version_are_found_by_name_and_project(home: Path) -> None:
    raw = old_file(1)
    put_box(raw, 1, a_box("dev", project="one", id="old"))
    raw.close()
    store = Store.open()
    one, two = a_project(home, "one"), a_project(home, "two")
    found = store.boxes.pick("dev", one)
    assert (found.id, found.root, found.alias) == ("old", "", "devbox-dev")
    with pytest.raises(Conflict):
        store.boxes.pick("dev", two)
    second = store.boxes.get(put(store, two))
    assert second
    assert second.alias == "devbox-two-dev"


@pytest.mark.parametrize(
    ("asked", "boxes", "fix"),
    [
        ("one/dev", (), "devbox ls --all shows all boxes"),
        ("dev", ("dev",), "make it with: devbox up dev"),
        ("dve", ("dev",), "did you mean dev? devbox ls shows all boxes"),
        ("far", ("near-one", "two"), "devbox ls shows all boxes; devbox.toml has near-one, two"),
        ("far", (), "devbox ls shows all boxes; a new project begins with: devbox init"),
    ],
)
def test_a_name_that_no_box_has_is_answered_with_what_to_type(
    home: Path, asked: str, boxes: tuple[str, ...], fix: str
) -> None:
    here = a_project(home, "here")._replace(boxes=boxes)
    with pytest.raises(NotFound) as caught:
        lookup.choose([], *lookup.parts(asked), here)
    assert caught.value.fix == fix


def test_a_folder_that_cannot_be_printed_is_none() -> None:
    with pytest.raises(UsageError, match="is not a usable folder"):
        lookup.parts("/home/\x1b[31m/dev")


def test_without_a_name_boxes_of_other_projects_are_told(home: Path) -> None:
    one, two = a_project(home, "one"), a_project(home, "two")
    theirs = a_box("dev", project=two.project, root=two.root)
    with pytest.raises(NotFound, match=r"live boxes: none; of other projects: two/dev"):
        lookup.only([theirs], one)
    assert lookup.only([theirs], one._replace(inside=False)) is theirs
    mine = [a_box(name, project=one.project, root=one.root) for name in ("a", "b")]
    with pytest.raises(NotFound, match=r"live boxes: a, b\)"):
        lookup.only(mine, one)


def test_a_slug_that_is_taken_in_each_form_has_more_of_the_id() -> None:
    box = a_box("dev", project="one", id="0123456789")
    assert lookup.free_slug(box, {"dev", "one-dev"}) == "one-dev-0123"
    assert lookup.free_slug(box, {"dev", "one-dev", "one-dev-0123"}) == "dev-01234567"


def test_without_a_state_file_the_fast_look_finds_nothing(home: Path) -> None:
    assert fast_lookup.reachable(home / "none.db", "dev", str(home)) is None
