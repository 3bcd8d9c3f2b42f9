"""Pictures of every kind that cameras publish, into pixels and into video."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from made_episode import STORE, T, header, image, picture

from dialtone_core.errors import WireError
from dialtone_recorder.pictures import Decoder, Picture, ToVideo, locate

SCENE = cv2.GaussianBlur(
    np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8), (0, 0), 5
)
SCENE = cv2.normalize(SCENE, None, 0, 255, cv2.NORM_MINMAX)


def located(message: Any) -> Picture:
    data = bytes(STORE.serialize_cdr(message, message.__msgtype__))
    return locate(message.__msgtype__, data)


def jpeg(pixels: Any, sampling: int = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    return bytes(cv2.imencode(".jpg", pixels, options)[1])


def raw(encoding: str, pixels: Any, padding: int = 0) -> Any:
    rows = np.ascontiguousarray(pixels).reshape(pixels.shape[0], -1)
    padded = np.pad(rows, ((0, 0), (0, padding)))
    return T["sensor_msgs/msg/Image"](
        header(9), pixels.shape[0], pixels.shape[1], encoding, 0, padded.shape[1], padded.ravel()
    )


@pytest.mark.parametrize(
    "sampling",
    [
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ],
)
@pytest.mark.parametrize("cut", [0, 1])
def test_every_jpeg_becomes_even_limited_range_video_of_the_same_colours(
    sampling: int, cut: int
) -> None:
    pixels = SCENE[: 48 - cut, : 64 - cut]
    frame = ToVideo()(Decoder().frame(located(image(0.0, jpeg(pixels, sampling)))))
    assert frame.format.name == "yuv420p"
    assert (frame.height, frame.width) == ((48, 64) if not cut else (46, 62))
    luma = frame.to_ndarray()[: frame.height]
    assert luma.min() >= 15
    assert luma.max() <= 236
    back = frame.to_ndarray(format="bgr24").astype(int)
    wanted = pixels[: frame.height, : frame.width].astype(int)
    assert np.abs(back - wanted).mean() < 6
    assert np.abs((back - wanted).mean(axis=(0, 1))).max() < 3


def test_a_grey_jpeg_becomes_video_too() -> None:
    grey = cv2.cvtColor(SCENE, cv2.COLOR_BGR2GRAY)
    frame = ToVideo()(Decoder().frame(located(image(0.0, jpeg(grey)))))
    assert frame.format.name == "yuv420p"
    assert np.abs(frame.to_ndarray(format="gray").astype(int) - grey).mean() < 4


@pytest.mark.parametrize(
    ("encoding", "conversion"),
    [
        ("rgb8", cv2.COLOR_BGR2RGB), ("bgr8", None), ("rgba8", cv2.COLOR_BGR2RGBA),
        ("bgra8", cv2.COLOR_BGR2BGRA),
    ],
)  # fmt: skip
def test_raw_pixels_are_read_by_their_encoding_and_row_length(
    encoding: str, conversion: int | None
) -> None:
    pixels = SCENE if conversion is None else cv2.cvtColor(SCENE, conversion)
    found = located(raw(encoding, pixels, padding=8))
    assert found.shape() == (48, 64)
    assert (Decoder().rgb(found) == SCENE[..., ::-1]).all()


def test_a_png_is_read_and_what_is_no_picture_is_refused() -> None:
    png = bytes(cv2.imencode(".png", SCENE)[1])
    found = located(image(0.0, png, "png"))
    assert (Decoder().rgb(found) == SCENE[..., ::-1]).all()
    assert found.shape() == (48, 64)
    with pytest.raises(WireError, match="not_an_image"):
        Decoder().rgb(located(image(0.0, b"nonsense", "png")))
    with pytest.raises(WireError, match="encoding"):
        located(raw("16UC1", SCENE))
    short = raw("bgr8", SCENE)
    short.data = short.data[:-5]
    with pytest.raises(WireError, match="truncated"):
        located(short)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.95])
def test_a_jpeg_that_was_cut_off_is_refused_and_the_next_one_is_read(kept: float) -> None:
    whole = picture(3)
    decoder = Decoder()
    with pytest.raises(WireError):
        decoder.frame(located(image(0.0, whole[: int(len(whole) * kept)])))
    assert decoder.frame(located(image(0.0, whole))).width == 64
