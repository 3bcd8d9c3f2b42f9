/** Bytes or text that are not what the wire contract says; `reason` is a stable token. */
export class WireError extends Error {
  readonly reason: string;

  constructor(reason: string, detail = "") {
    super(detail ? `${reason}: ${detail}` : reason);
    this.name = "WireError";
    this.reason = reason;
  }
}
