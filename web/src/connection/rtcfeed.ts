/** H.264 over WebRTC: one offer, one answer (`POST /api/v1/webrtc`), pictures drawn as they come. */

import { api } from "./api";
import type { Feed, Figures, OnPicture } from "./videofeed";

const GATHER_MS = 800;

export class RtcFeed implements Feed {
  readonly figures: Figures;
  private readonly peer = new RTCPeerConnection();
  private readonly video = document.createElement("video");
  private readonly onPicture: OnPicture;
  private closed = false;

  /** Whether this browser can do it at all. */
  static supported(): boolean {
    return "RTCPeerConnection" in globalThis
      && "requestVideoFrameCallback" in HTMLVideoElement.prototype;
  }

  /** `onRefused` is called once where the gateway has no H.264 to give. */
  constructor(camera: string, onPicture: OnPicture, figures: Figures, onRefused: () => void) {
    this.figures = figures;
    this.onPicture = onPicture;
    this.video.muted = true;
    this.video.playsInline = true;
    this.peer.ontrack = ({ track }) => {
      this.video.srcObject = new MediaStream([track]);
      this.video.play().catch(() => {});
      this.next();
    };
    this.peer.onconnectionstatechange = () => {
      if (!this.closed && this.peer.connectionState === "failed") figures.lost();
    };
    this.negotiate(camera).then(() => figures.path.set("H.264"), () => {
      if (!this.closed) onRefused();
    });
  }

  close(): void {
    this.closed = true;
    this.peer.close();
    this.video.srcObject = null;
  }

  private async negotiate(camera: string): Promise<void> {
    this.peer.addTransceiver("video", { direction: "recvonly" });
    await this.peer.setLocalDescription(await this.peer.createOffer());
    await this.gathered();
    const { sdp } = this.peer.localDescription as RTCSessionDescription;
    const answer = await api<{ sdp: string }>("/api/v1/webrtc", { camera, sdp, type: "offer" });
    if (!this.closed) await this.peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
  }

  /** All addresses go with the offer; one that is slow to be found is done without. */
  private gathered(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, GATHER_MS);
      this.peer.onicegatheringstatechange = () => {
        if (this.peer.iceGatheringState !== "complete") return;
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private next(): void {
    this.video.requestVideoFrameCallback(() => {
      if (this.closed) return;
      const { videoWidth: width, videoHeight: height } = this.video;
      this.onPicture(this.video, width, height);
      this.figures.drawn(width, height, null, null);
      this.next();
    });
  }
}
