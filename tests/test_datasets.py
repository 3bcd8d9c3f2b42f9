"""From a driven robot to a dataset that strangers' validators pass."""

from __future__ import annotations

import asyncio
import shutil
import sysconfig
from pathlib import Path

import orjson

from dialtone_bringup.rig import CAMERA, Operator, Rig, running, until
from dialtone_recorder.exporting import check, export
from dialtone_recorder.manifest import RECORDING
from dialtone_recorder.recording import Recording
from dialtone_recorder.suggest import suggest

REAR = "/**/camera_rear: {ros__parameters: {driver: sim, mount_yaw_deg: 180.0}}"


async def record(rig: Rig, seconds: int) -> Path:
    """Drive and record; returns the closed episode."""
    operator = Operator(rig, await rig.nats())
    await operator.next(CAMERA)
    await operator.next("camera/rear/image_raw/compressed")
    begun = orjson.loads(await operator.call("recorder", "start", b'{"task": "turn"}'))
    assert begun["ok"], begun
    for number in range(seconds):
        await operator.drive(0.4 + 0.1 * number, 0.5 - 0.2 * number, 1.0)
    await operator.call("recorder", "stop", b'{"outcome": "success"}')
    path = rig.episodes / begun["episode"]
    await until("it is closed", lambda: path.exists(), 30)
    assert not path.name.endswith(RECORDING)
    return path


async def judge(command: str, dataset: Path) -> str:
    """Run a validator that is installed beside this Python; what it complains of, or ""."""
    program, *words = command.split()
    judging = await asyncio.create_subprocess_exec(
        Path(sysconfig.get_path("scripts")) / program, *words, dataset,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(judging.communicate(), 50)
    return said.decode() if judging.returncode else ""


async def test_a_drive_with_two_cameras_becomes_a_dataset_that_validators_pass(
    tmp_path: Path,
) -> None:
    params = tmp_path / "two_cameras.yaml"
    params.write_text(REAR)
    async with running("--params-file", str(params), robot="dataset") as rig:
        await rig.ready()
        episode = tmp_path / "episode"
        shutil.copytree(await record(rig, 3), episode)
    mapping = suggest(Recording(episode))
    assert mapping.action.kind == "applied"
    assert len(mapping.images) == 2
    # A busy machine may leave gaps; they are told, and not what is tested here.
    done = export("lerobot", [episode], tmp_path / "out", mapping, force=True)
    assert done.frames > mapping.fps
    judged = await asyncio.gather(
        judge("lerobot-doctor check --ci --fail-on fail", tmp_path / "out"),
        judge("robovet doctor", tmp_path / "out"),
        asyncio.to_thread(check, tmp_path / "out"),
    )
    assert judged == ["", "", []]
