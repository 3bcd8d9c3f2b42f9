/**
 * When to leave the JPEG path for H.264, and when to come back. Pure.
 *
 * A JPEG stream needs some 10 Mbit/s, H.264 a tenth of it but half a core of the robot: it is only
 * for links that demonstrably cannot carry the pictures.
 */

export interface Second {
  readonly live: boolean;
  readonly fps: number;
  /** Pictures that the sender left out in this second because earlier ones were on their way. */
  readonly skipped: number;
  readonly latencyMs: number | null;
}

const SLOW_S = 5;
const SLOW_LATENCY_MS = 500;
const FEW_FPS = 12;
const NO_PICTURE_S = 8;
const TRY_AGAIN_S = 60;

export class PathChooser {
  path: "jpeg" | "h264" = "jpeg";
  private slowFor = 0;
  private darkFor = 0;
  private waitFor = 0;

  /** Judge one second; returns the path to be on. */
  second(now: Second): "jpeg" | "h264" {
    this.waitFor = Math.max(0, this.waitFor - 1);
    if (this.path === "h264") {
      this.darkFor = now.live && now.fps > 0 ? 0 : this.darkFor + 1;
      if (this.darkFor >= NO_PICTURE_S) this.refused();
      return this.path;
    }
    const thinned = now.fps < FEW_FPS && now.skipped > now.fps;
    const late = now.latencyMs !== null && now.latencyMs > SLOW_LATENCY_MS;
    this.slowFor = now.live && (thinned || late) ? this.slowFor + 1 : 0;
    if (this.slowFor >= SLOW_S && this.waitFor === 0) {
      this.path = "h264";
      this.darkFor = 0;
    }
    return this.path;
  }

  /** H.264 is not to be had now: back to JPEG, and no new attempt for a while. */
  refused(): void {
    this.path = "jpeg";
    this.slowFor = 0;
    this.waitFor = TRY_AGAIN_S;
  }
}
