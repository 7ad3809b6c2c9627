"""A Job cannot pause: at its cap it is told loudly, and ended only if the user's config says so."""

from __future__ import annotations

from devbox import lifecycle, paths
from devbox.lifecycle.enforce import enforce
from devbox.model import BoxState
from tests.emulators.hf import HfEmulator
from tests.providers.hf.test_command import Project, command, opened


def test_a_job_at_its_cap_is_told_and_ended_only_if_the_user_says_so(
    hub: HfEmulator, project: Project
) -> None:
    folder = project("hf-job", box=command("sleep 600"))
    ws = opened(folder)
    box = lifecycle.up(ws, "train")
    ws.close()
    config = paths.user_config()
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("[budget]\ndaily = 0.001\n")
    ws = opened(folder)
    first, again = enforce(ws), enforce(ws)
    assert [done.kind for done in (*first, *again)] == ["told", "failed", "failed"]
    told, loud = (each.message for each in ws.store.events.news(0, ["budget"]))
    assert "the daily budget (" in told
    assert "cannot pause" in loud
    assert "devbox down train" in loud
    assert lifecycle.refresh(ws, [box])[0].state is BoxState.RUNNING
    ws.close()
    config.write_text("[budget]\ndaily = 0.001\nend_unpausable = true\n")
    ws = opened(folder)
    assert [done.kind for done in enforce(ws)] == ["ended"]
    found = ws.store.boxes.get(box.id)
    assert found is not None
    assert found.state is BoxState.TERMINATED
    assert all(job.over for job in hub.jobs.values())
    assert enforce(ws) == []
