/** A camera's pictures by the path that suits the link, or by the one that the person chose. */

import type { VideoPath } from "../state/settings";
import { type Reader, scope, watch } from "../state/signals";
import { PathChooser } from "../state/videopath";
import { RtcFeed } from "./rtcfeed";
import { type Feed, Figures, type OnPicture, SocketFeed } from "./videofeed";

const TRY_AGAIN_MS = 60_000;

export class AutoFeed implements Feed {
  readonly figures = new Figures();
  private readonly camera: string;
  private readonly onPicture: OnPicture;
  private readonly wish: Reader<VideoPath>;
  private readonly chooser = new PathChooser();
  private readonly timer = setInterval(() => this.judge(), 1000);
  private readonly endWatch: () => void;
  private feed: Feed | null = null;
  private path: "jpeg" | "h264" | null = null;
  private skippedBefore = 0;
  private refusedNow = false;
  private closed = false;

  constructor(camera: string, onPicture: OnPicture, wish: Reader<VideoPath>) {
    this.camera = camera;
    this.onPicture = onPicture;
    this.wish = wish;
    [, this.endWatch] = scope(() => watch(() => this.take(this.wanted(wish()))));
  }

  close(): void {
    this.closed = true;
    clearInterval(this.timer);
    this.endWatch();
    this.feed?.close();
    this.figures.close();
  }

  private judge(): void {
    if (document.hidden) return;
    const { figures } = this;
    const skipped = figures.skipped.peek();
    this.chooser.second({
      live: figures.state.peek() === "live",
      fps: figures.fps.peek(),
      skipped: skipped - this.skippedBefore,
      latencyMs: figures.latencyMs.peek(),
    });
    this.skippedBefore = skipped;
    this.take(this.wanted(this.wish()));
  }

  private wanted(wish: VideoPath): "jpeg" | "h264" {
    if (wish === "jpeg" || this.refusedNow || !RtcFeed.supported()) return "jpeg";
    return wish === "h264" ? "h264" : this.chooser.path;
  }

  private take(path: "jpeg" | "h264"): void {
    if (this.closed || path === this.path) return;
    this.path = path;
    this.feed?.close();
    this.feed = path === "jpeg"
      ? new SocketFeed(this.camera, this.onPicture, this.figures)
      : new RtcFeed(this.camera, this.onPicture, this.figures, () => this.refused());
  }

  private refused(): void {
    this.chooser.refused();
    this.refusedNow = true;
    setTimeout(() => {
      this.refusedNow = false;
    }, TRY_AGAIN_MS);
    this.take("jpeg");
  }
}
