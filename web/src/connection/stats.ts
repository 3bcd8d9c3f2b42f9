/** Small statistics over the newest measurements. Pure. */

/** The newest `capacity` values; the median tells the usual, `worst` the unusual. */
export class Recent {
  private readonly values: number[] = [];
  private readonly capacity: number;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  add(value: number): void {
    this.values.push(value);
    if (this.values.length > this.capacity) this.values.shift();
  }

  clear(): void {
    this.values.length = 0;
  }

  get size(): number {
    return this.values.length;
  }

  /** `fraction` of the values are at most this; `null` while there are none. */
  quantile(fraction: number): number | null {
    if (this.values.length === 0) return null;
    const sorted = [...this.values].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(fraction * sorted.length))] as number;
  }
}

/**
 * The other side's clock minus ours, from question and answer: of the newest exchanges the quickest
 * is believed, because its answer was stamped nearest to the middle.
 */
export class ClockOffset {
  private readonly exchanges: { offsetMs: number; tripMs: number }[] = [];

  /** Sent and received on our clock, answered on theirs; all ms since the Unix epoch. */
  add(sentMs: number, answeredMs: number, receivedMs: number): void {
    const tripMs = receivedMs - sentMs;
    if (!(tripMs >= 0)) return;
    this.exchanges.push({ offsetMs: answeredMs - (sentMs + receivedMs) / 2, tripMs });
    if (this.exchanges.length > 16) this.exchanges.shift();
  }

  /** `null` before the first exchange. */
  get offsetMs(): number | null {
    let best: { offsetMs: number; tripMs: number } | null = null;
    for (const exchange of this.exchanges) {
      if (best === null || exchange.tripMs <= best.tripMs) best = exchange;
    }
    return best?.offsetMs ?? null;
  }
}

/** Events a second over the last two seconds. */
export class Rate {
  private readonly stamps: number[] = [];

  add(nowMs: number): void {
    this.stamps.push(nowMs);
    this.trim(nowMs);
  }

  perSecond(nowMs: number): number {
    this.trim(nowMs);
    const first = this.stamps[0];
    if (first === undefined || this.stamps.length < 2) return 0;
    return ((this.stamps.length - 1) * 1000) / Math.max(1, nowMs - first);
  }

  private trim(nowMs: number): void {
    while (this.stamps.length > 0 && nowMs - (this.stamps[0] as number) > 2000) {
      this.stamps.shift();
    }
  }
}
