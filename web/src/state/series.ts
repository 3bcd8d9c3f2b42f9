/** The last minute of a figure, in a ring of fixed size. Pure. */

export class Series {
  private readonly times: Float64Array;
  private readonly values: Float64Array;
  private next = 0;
  private filled = 0;

  constructor(capacity = 4096) {
    this.times = new Float64Array(capacity);
    this.values = new Float64Array(capacity);
  }

  /** `time_s` must not go back; the oldest sample gives way when the ring is full. */
  add(timeS: number, value: number): void {
    this.times[this.next] = timeS;
    this.values[this.next] = value;
    this.next = (this.next + 1) % this.times.length;
    this.filled = Math.min(this.filled + 1, this.times.length);
  }

  /** Samples not older than `sinceS`, oldest first, at most `most` of them, evenly thinned. */
  since(sinceS: number, most: number): [number[], number[]] {
    const times: number[] = [];
    const values: number[] = [];
    const start = this.next - this.filled;
    let first = 0;
    while (first < this.filled && this.at(this.times, start + first) < sinceS) first++;
    const step = Math.max(1, Math.ceil((this.filled - first) / most));
    for (let index = first; index < this.filled; index += step) {
      times.push(this.at(this.times, start + index));
      values.push(this.at(this.values, start + index));
    }
    return [times, values];
  }

  get last(): number | null {
    return this.filled === 0 ? null : this.at(this.values, this.next - 1);
  }

  private at(ring: Float64Array, index: number): number {
    const size = ring.length;
    return ring[((index % size) + size) % size] as number;
  }
}
