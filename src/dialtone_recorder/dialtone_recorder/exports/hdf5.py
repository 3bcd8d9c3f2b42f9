"""HDF5 as ALOHA and ACT lay it out: one ``episode_N.hdf5`` an episode.

``/observations/qpos``, ``/observations/qvel``, ``/observations/images/<camera>``, ``/action``,
attribute ``sim``. The JPEG variant (attribute ``compress``) holds the recorded bytes, padded with
zeros to one length, and ``/compress_len`` (cameras by name, frames).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np

from dialtone_core.errors import DialtoneError, WireError
from dialtone_recorder.mapping import Mapping
from dialtone_recorder.pictures import Decoder
from dialtone_recorder.table import Table

#: What ACT calls the state; the first one that is mapped is taken.
_QPOS = ("observation.qpos", "observation.state")
_QVEL = ("observation.qvel", "observation.velocity")


class Hdf5:
    """Writes one dataset; see ``Exporter``."""

    def __init__(self, folder: Path, mapping: Mapping) -> None:
        self._folder = folder
        self._mapping = mapping
        self._jpeg = mapping.hdf5_images == "jpeg"
        self._number = len(list(folder.glob("episode_*.hdf5")))
        self._qpos = next((name for name in _QPOS if name in mapping.features), "")
        if not self._qpos:
            raise DialtoneError(
                f"features have none of {', '.join(_QPOS)}", where="mapping",
                fix="hdf5 needs one for /observations/qpos",
            )  # fmt: skip

    def add(self, table: Table, on_progress: Callable[[float], None]) -> None:
        """Write the next episode; pictures go from the file into the file one by one."""
        path = self._folder / f"episode_{self._number}.hdf5"
        with h5py.File(path, "w", libver=("v110", "v110")) as file:
            self._numbers(file, table)
            self._pictures(file, table, on_progress)
        self._number += 1

    def finish(self) -> None:
        """Nothing describes all episodes."""

    @staticmethod
    def check(folder: Path, on_progress: Callable[[float], None]) -> list[str]:
        problems: list[str] = []
        paths = sorted(folder.glob("episode_*.hdf5"))
        if not paths:
            problems.append(f"{folder}: no episode_N.hdf5")
        for number, path in enumerate(paths):
            try:
                with h5py.File(path) as file:
                    problems += [f"{path}: {each}" for each in _problems(file)]
            except (OSError, KeyError, ValueError) as error:
                problems.append(f"{path}: not readable: {error}")
            on_progress((number + 1) / len(paths))
        return problems

    def _numbers(self, file: h5py.File, table: Table) -> None:
        frames = len(table)
        file.attrs["sim"] = False
        file.attrs["compress"] = self._jpeg
        file.attrs["fps"] = self._mapping.fps
        file.attrs["task"] = table.task
        qvel = next((name for name in _QVEL if name in table.columns), "")
        places = {self._qpos: "observations/qpos", qvel: "observations/qvel", "action": "action"}
        for name, column in table.columns.items():
            place = places.get(name, name.replace("observation.", "observations/", 1))
            data = file.create_dataset(place, data=column.values)
            data.attrs["names"] = column.names
            data.attrs["units"] = column.units or [""] * len(column.names)
        if not qvel:
            # Loaders open it; zero numbers a frame claim nothing.
            file.create_dataset("observations/qvel", shape=(frames, 0), dtype=np.float32)
        file.create_dataset("timing.time_ns", data=table.times_ns)

    def _pictures(
        self, file: h5py.File, table: Table, on_progress: Callable[[float], None]
    ) -> None:
        sets = {name: self._image_set(file, table, name) for name in sorted(table.cameras)}
        lengths = np.zeros((len(sets), len(table)), np.int64)
        rows = {name: number for number, name in enumerate(sets)}
        decoders = {name: Decoder() for name in sets}
        for name, first, frames, picture in table.shown(on_progress):
            if self._jpeg and picture.format != "jpeg":
                raise DialtoneError(
                    f"{name}: pictures are {picture.format}, not jpeg",
                    where=str(table.recording.path), fix="hdf5_images: rgb",
                )  # fmt: skip
            try:
                pixels = (
                    np.frombuffer(picture.data(), np.uint8)
                    if self._jpeg
                    else decoders[name].rgb(picture)
                )
                for frame in range(first, first + frames):
                    sets[name][frame, : len(pixels)] = pixels
                lengths[rows[name], first : first + frames] = len(pixels)
            except (WireError, TypeError, ValueError) as error:
                raise table.bad_picture(name, WireError("not_decoded", str(error))) from error
        if self._jpeg and sets:
            file.create_dataset("compress_len", data=lengths)

    def _image_set(self, file: h5py.File, table: Table, name: str) -> Any:
        pictures = table.cameras[name].pictures
        camera = name.removeprefix("observation.images.")
        shape: tuple[int, ...] = (len(table), int(pictures.sizes.max()))
        if not self._jpeg:
            shape = (len(table), pictures.height, pictures.width, 3)
        made = file.create_dataset(
            f"observations/images/{camera}", shape=shape, dtype=np.uint8, chunks=(1, *shape[1:])
        )
        made.attrs["rate_hz"] = round(table.cameras[name].rate_hz, 3)
        return made


def _problems(file: h5py.File) -> list[str]:
    frames = len(file["action"])
    problems = []
    images = [f"observations/images/{each}" for each in file.get("observations/images", ())]
    for name in ["observations/qpos", "observations/qvel", "timing.time_ns", *images]:
        if len(file[name]) != frames:
            problems.append(f"/{name} has {len(file[name])} frames, /action {frames}")
    for name in ("action", "observations/qpos", "observations/qvel"):
        if not np.isfinite(file[name][:]).all():
            problems.append(f"/{name} is not finite")
    if not (np.diff(file["timing.time_ns"][:]) > 0).all():
        problems.append("/timing.time_ns does not rise")
    if file.attrs["compress"] and "compress_len" in file:
        problems += _undecodable(file)
    return problems


def _undecodable(file: h5py.File) -> list[str]:
    problems = []
    for name, data in file["observations/images"].items():
        for frame in range(len(data)):
            if cv2.imdecode(data[frame], cv2.IMREAD_REDUCED_COLOR_8) is None:
                problems.append(f"/observations/images/{name}: frame {frame} is no JPEG")
                break
    return problems
