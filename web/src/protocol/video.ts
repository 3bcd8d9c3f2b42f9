/** Frames of `WS /ws/video/<camera>`: a 24-byte little-endian header, then the picture. Pure. */

import { WireError } from "./errors";

export const VIDEO_HEADER_BYTES = 24;
const VERSION = 1;

export interface VideoFrame {
  /** 0 is a JPEG. */
  readonly kind: number;
  readonly seq: number;
  /** The robot's clock when the picture was taken, ms since the Unix epoch. */
  readonly captureMs: number;
  /** The gateway's clock when it sent the frame, ms since the Unix epoch. */
  readonly sentMs: number;
  readonly picture: Uint8Array<ArrayBuffer>;
}

/** Header `u8 version, u8 kind, u16 reserved, u32 seq, u64 capture_ns, u64 sent_ns`. */
export function readVideoFrame(data: ArrayBuffer): VideoFrame {
  if (data.byteLength < VIDEO_HEADER_BYTES) {
    throw new WireError("truncated", `${data.byteLength} bytes`);
  }
  const view = new DataView(data);
  if (view.getUint8(0) !== VERSION) throw new WireError("version", String(view.getUint8(0)));
  return {
    kind: view.getUint8(1),
    seq: view.getUint32(4, true),
    captureMs: nsToMs(view.getBigUint64(8, true)),
    sentMs: nsToMs(view.getBigUint64(16, true)),
    picture: new Uint8Array(data, VIDEO_HEADER_BYTES),
  };
}

/** Exact to the microsecond: whole milliseconds are taken out before the double is made. */
export function nsToMs(ns: bigint): number {
  return Number(ns / 1_000_000n) + Number(ns % 1_000_000n) / 1e6;
}
