"""One WebRTC viewer of one camera. Imported only when there is one: aiortc and PyAV are big."""

from __future__ import annotations

import asyncio
import fractions
import time

import av
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription, VideoStreamTrack
from aiortc.mediastreams import MediaStreamError

from dialtone_gateway.video.frames import Frame
from dialtone_gateway.video.hub import Camera, Viewer

_CLOCK_HZ = 90_000
#: A peer that was never connected, or lost its way, is let go after so long.
_LOST_S = 15.0


class _Pictures(VideoStreamTrack):  # type: ignore[misc]
    """The camera's newest picture, decoded in a thread, stamped with its time of arrival."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._decoder = av.CodecContext.create("mjpeg", "r")
        self._began_s = time.monotonic()

    async def recv(self) -> av.VideoFrame:
        while True:
            frame = await self._viewer.take()
            if frame is None:
                self.stop()
                raise MediaStreamError
            picture = await asyncio.to_thread(self._decode, frame)
            if picture is not None:
                picture.pts = int((time.monotonic() - self._began_s) * _CLOCK_HZ)
                picture.time_base = fractions.Fraction(1, _CLOCK_HZ)
                return picture

    def _decode(self, frame: Frame) -> av.VideoFrame | None:
        try:
            pictures = self._decoder.decode(av.Packet(frame.jpeg))
        except av.FFmpegError:
            return None
        return pictures[0].reformat(format="yuv420p") if pictures else None


class Peer:
    """``answer`` once, then ``run`` until it is over, then ``aclose``."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._viewer = Viewer()
        self._connection = RTCPeerConnection()
        self._changed = asyncio.Event()
        self._connection.on("connectionstatechange", self._changed.set)

    async def answer(self, sdp: str) -> str:
        """The SDP answer; raises whatever aiortc does where the offer is nonsense."""
        connection = self._connection
        connection.addTrack(_Pictures(self._viewer))
        h264 = [
            codec
            for codec in RTCRtpSender.getCapabilities("video").codecs
            if codec.mimeType == "video/H264"
        ]
        # Before the offer is looked at: codecs are matched then, and only then.
        (transceiver,) = connection.getTransceivers()
        transceiver.setCodecPreferences(h264)
        await connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        return str(connection.localDescription.sdp)

    async def run(self) -> None:
        """Send until the peer leaves."""
        async with self._camera.watch(self._viewer):
            while (state := self._connection.connectionState) not in ("closed", "failed"):
                self._changed.clear()
                waiting = asyncio.create_task(self._changed.wait())
                patience_s = None if state == "connected" else _LOST_S
                done, _ = await asyncio.wait({waiting}, timeout=patience_s)
                waiting.cancel()
                if not done:
                    return

    def hang_up(self) -> None:
        self._viewer.close()
        self._changed.set()

    async def aclose(self) -> None:
        self._viewer.close()
        await self._connection.close()
