"""What a session does on disks that are full or read-only; prints it as JSON.

``unshare --mount python small_disk.py FOLDER``: real file systems of a few MB, seen by nobody else
and gone with this process.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
from made_episode import drive

from dialtone_core.errors import DialtoneError
from dialtone_core.sample import Sample
from dialtone_recorder.closing import index_episode, publish
from dialtone_recorder.derive import cut
from dialtone_recorder.exporting import export
from dialtone_recorder.folder import open_directory
from dialtone_recorder.intake import Intake
from dialtone_recorder.manifest import read_episode
from dialtone_recorder.reader import episode_counts
from dialtone_recorder.recording import Recording
from dialtone_recorder.recover import recover
from dialtone_recorder.session import Facts, Limits, Session
from dialtone_recorder.suggest import suggest
from dialtone_recorder.topics import Topic

KIND = "sensor_msgs/msg/CompressedImage"
#: So long that the end of a file does not fit beside what is there already.
TOPIC = Topic("/camera", KIND, "# a comment\n" * 2000 + "uint8[] data\n")
PICTURE = bytes(200_000)


def disk(folder: Path, options: str) -> Path:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
    return folder


def begin(folder: Path) -> Session:
    session = Session(folder, Facts("one", "rover"), Limits(min_free_bytes=0))
    session.add_topic(TOPIC)
    return session


def put(session: Session, number: int) -> None:
    """One picture, and wait until the writer has had it."""
    stamp_ns = 1_700_000_000_000_000_000 + number
    session.put(Sample("/camera", KIND, "cdr", PICTURE, stamp_ns, stamp_ns, number + 1))
    deadline = time.monotonic() + 20
    while session.waiting_bytes and not session.ended.is_set():
        if time.monotonic() > deadline:
            raise RuntimeError("the writer does not write")
        time.sleep(0.001)


def fills(folder: Path) -> dict[str, Any]:
    """The disk becomes full in the middle: the reserve pays for a proper end."""
    session = begin(folder)
    for number in range(80):
        put(session, number)
    session.finish()
    index_episode(session.folder)
    path = publish(session.folder)
    session.release()
    left = sorted(each.name for each in folder.iterdir())
    return {**_facts(path), "lost": session.lost, "left": left}


def stays_full(folder: Path) -> dict[str, Any]:
    """Somebody else takes the reserve's room too: what is written waits for better times."""
    session = begin(folder)
    for number in range(10):
        put(session, number)
    (session.folder / ".reserve").unlink()
    hog = folder / "hog"
    with hog.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    put(session, 10)
    session.finish()
    session.release()
    told = {"whole": session.whole, "error": session.error, "lost": session.lost}
    hog.unlink()
    path = recover(session.folder)
    assert path is not None
    return {**told, **_facts(path)}


def refuses(folder: Path) -> dict[str, Any]:
    """A read-only disk: neither the node nor an episode begins."""
    said = []
    for attempt in (lambda: open_directory(str(folder)), lambda: begin(folder)):
        try:
            attempt()
        except DialtoneError as error:
            said.append(str(error))
    return {"said": said}


def derives(folder: Path, source: Path) -> dict[str, Any]:
    """A trim and an export that do not fit: nothing of them is left."""
    episode = drive(2.0).write(source)
    intake = Intake(episode)
    mapping = suggest(Recording(episode))
    said = []
    for attempt in (
        lambda: cut(intake, folder / "cut", 0, intake.end_ns + 1, "trim", lambda steps: None),
        lambda: export("parquet", [episode], folder / "table", mapping),
        lambda: export("lerobot", [episode], folder / "set", mapping),
    ):
        try:
            attempt()
        except DialtoneError as error:
            said.append(str(error))
    return {"said": said, "left": [each.name for each in folder.iterdir()]}


def _facts(path: Path) -> dict[str, Any]:
    return {"counts": episode_counts(path), "facts": read_episode(path)}


if __name__ == "__main__":
    place = Path(sys.argv[1])
    found = {
        "fills": fills(disk(place / "fills", "size=12m")),
        "stays full": stays_full(disk(place / "full", "size=8m")),
        "derives": derives(disk(place / "derives", "size=16k"), place / "source"),
        "refuses": refuses(disk(place / "refuses", "ro,size=1m")),
    }
    sys.stdout.write(orjson.dumps(found).decode())
