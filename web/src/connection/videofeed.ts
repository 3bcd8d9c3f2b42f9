/**
 * Pictures of one camera, newest first and never a queue: the sender gets a credit for each
 * picture that has been drawn, and drops what it has no credit for.
 */

import { readVideoFrame } from "../protocol/video";
import { HEADER, telemetrySubject } from "../protocol/subjects";
import { signal } from "../state/signals";
import { socketUrl } from "./api";
import type { Link } from "./link";
import { ClockOffset, Rate, Recent } from "./stats";

export type Drawable = ImageBitmap | HTMLVideoElement;
export type OnPicture = (picture: Drawable, width: number, height: number) => void;

export interface Feed {
  readonly figures: Figures;
  close(): void;
}

/** What the overlay shows, refreshed twice a second. */
export class Figures {
  readonly state = signal<"waiting" | "live" | "lost">("waiting");
  readonly fps = signal(0);
  /** Capture stamp → drawn, by the measured clock offset; `null` while it is unknown. */
  readonly latencyMs = signal<number | null>(null);
  readonly size = signal("");
  readonly skipped = signal(0);
  /** How the pictures come. */
  readonly path = signal<"JPEG" | "H.264" | "NATS">("JPEG");
  private readonly rate = new Rate();
  private readonly latencies = new Recent(30);
  private lastSeq: number | null = null;
  private lastAt = 0;
  private readonly timer = setInterval(() => this.refresh(), 500);

  drawn(width: number, height: number, seq: number | null, latencyMs: number | null): void {
    const now = performance.now();
    this.rate.add(now);
    this.lastAt = now;
    if (latencyMs !== null) this.latencies.add(latencyMs);
    if (seq !== null) {
      const gap = this.lastSeq === null ? 0 : seq - this.lastSeq - 1;
      if (gap > 0 && gap < 1000) this.skipped.set(this.skipped.peek() + gap);
      this.lastSeq = seq;
    }
    this.size.set(`${width}×${height}`);
    this.state.set("live");
  }

  lost(): void {
    this.state.set("lost");
    this.latencies.clear();
  }

  close(): void {
    clearInterval(this.timer);
  }

  private refresh(): void {
    const now = performance.now();
    this.fps.set(Math.round(this.rate.perSecond(now)));
    this.latencyMs.set(this.latencies.quantile(0.5));
    if (this.state.peek() === "live" && now - this.lastAt > 1500) this.lost();
  }
}

const FIRST_CREDITS = 2;
const RETRY_MS = 1000;
const PING_MS = 1000;

/** `WS /ws/video/<camera>` of the gateway. `figures` stay the caller's. */
export class SocketFeed implements Feed {
  readonly figures: Figures;
  private readonly url: string;
  private readonly onPicture: OnPicture;
  private readonly offset = new ClockOffset();
  private socket: WebSocket | null = null;
  private closed = false;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private readonly beat = setInterval(() => this.ping(), PING_MS);

  constructor(camera: string, onPicture: OnPicture, figures: Figures) {
    this.figures = figures;
    figures.path.set("JPEG");
    this.url = socketUrl(`/ws/video/${encodeURIComponent(camera)}`);
    this.onPicture = onPicture;
    this.connect();
  }

  close(): void {
    this.closed = true;
    clearInterval(this.beat);
    clearTimeout(this.retry);
    this.socket?.close();
  }

  private connect(): void {
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => {
      this.ping();
      this.send({ credits: FIRST_CREDITS });
    };
    socket.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => {
      if (typeof data === "string") this.answered(data);
      else void this.receive(data);
    };
    socket.onclose = () => {
      if (this.closed) return;
      this.figures.lost();
      this.retry = setTimeout(() => this.connect(), RETRY_MS);
    };
  }

  private async receive(data: ArrayBuffer): Promise<void> {
    try {
      const frame = readVideoFrame(data);
      const bitmap = await createImageBitmap(new Blob([frame.picture], { type: "image/jpeg" }));
      if (!this.closed) {
        this.onPicture(bitmap, bitmap.width, bitmap.height);
        const offset = this.offset.offsetMs;
        const latency = offset === null ? null : wallMs() + offset - frame.captureMs;
        this.figures.drawn(bitmap.width, bitmap.height, frame.seq, latency);
      }
      bitmap.close();
    } catch {
      // One broken picture is skipped; the credit goes back below.
    }
    this.send({ credits: 1 });
  }

  private ping(): void {
    this.send({ ping: wallMs() });
  }

  private answered(text: string): void {
    const received = wallMs();
    try {
      const { pong, server_ns } = JSON.parse(text) as { pong?: unknown; server_ns?: unknown };
      if (typeof pong === "number" && typeof server_ns === "number") {
        this.offset.add(pong, server_ns / 1e6, received);
      }
    } catch {
      // Not for this side.
    }
  }

  private send(message: object): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }
}

/** Pictures over NATS, for robots that this page's gateway does not stream. */
export class NatsFeed implements Feed {
  readonly figures = new Figures();
  private readonly onPicture: OnPicture;
  private readonly unsubscribe: () => void;
  private newest: { picture: Uint8Array<ArrayBuffer>; seq: number | null } | null = null;
  private busy = false;

  constructor(link: Link, robot: string, camera: string, onPicture: OnPicture) {
    this.onPicture = onPicture;
    this.figures.path.set("NATS");
    const subject = telemetrySubject(robot, `camera/${camera}/image_raw/compressed`);
    this.unsubscribe = link.subscribe(subject, (message) => {
      if (message.headers?.get(HEADER.encoding) !== "jpeg") return;
      const seq = Number(message.headers.get(HEADER.seq) || Number.NaN);
      this.newest = {
        picture: new Uint8Array(message.data),
        seq: Number.isFinite(seq) ? seq : null,
      };
      void this.draw();
    });
  }

  close(): void {
    this.unsubscribe();
    this.figures.close();
  }

  private async draw(): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    while (this.newest !== null) {
      const { picture, seq } = this.newest;
      this.newest = null;
      try {
        const bitmap = await createImageBitmap(new Blob([picture], { type: "image/jpeg" }));
        this.onPicture(bitmap, bitmap.width, bitmap.height);
        this.figures.drawn(bitmap.width, bitmap.height, seq, null);
        bitmap.close();
      } catch {
        // One broken picture is skipped.
      }
    }
    this.busy = false;
  }
}

function wallMs(): number {
  return performance.timeOrigin + performance.now();
}
