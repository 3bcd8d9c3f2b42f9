/** The gateway's REST interface: what it answers, and one function that asks. */

export type Role = "viewer" | "operator" | "admin";

export interface Session {
  user: string;
  role: Role;
  session: string;
  expires_at_s: number;
  robot: string;
  insecure_local: boolean;
}
export interface RobotInfo {
  robot: string;
  namespace: string;
  version: string;
  uptime_s: number;
  nats_connected: boolean;
  foxglove_url: string;
  cameras: string[];
}
export interface Camera {
  name: string;
  width: number;
  height: number;
  fps: number;
  bytes_per_s: number;
  viewers: number;
  age_s: number | null;
}
export interface Metrics {
  host?: Record<string, number | string | null | Record<string, unknown>>;
  processes?: { name: string; cpu_percent: number; rss_mb: number }[];
  connections?: number;
  throughput_bytes_s?: number;
  [other: string]: unknown;
}
export interface Episode {
  name: string;
  task?: string;
  outcome?: string;
  duration_s?: number;
  bytes?: number;
  messages?: number;
  started_at_s?: number;
  recovered?: boolean;
  gate?: string | { level?: string; verdict?: string } | null;
}
export interface Operators {
  holder: unknown;
  connected: { user: string; role: Role; session: string; since_s: number; address: string }[];
}
export interface NatsAccess {
  path: string;
  robot: string;
  user?: string;
  password?: string;
  token?: string;
  jwt?: string;
  seed?: string;
  inbox_prefix?: string;
}
export interface Logs {
  names: string[];
  lines: string[];
}

/** An answer that is no success; `status` 0 means that there was no answer. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

const TIMEOUT_MS = 8000;

/** Ask the gateway; the session cookie goes along, and the header that shows it is this page. */
export async function api<T>(path: string, body?: object): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      credentials: "same-origin",
      cache: "no-store",
      headers: { "X-Dialtone": "1", ...(body ? { "Content-Type": "application/json" } : {}) },
      ...(body ? { body: JSON.stringify(body) } : {}),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw new ApiError(0, "The gateway does not answer");
  }
  const reply = (await response.json().catch(() => null)) as (T & { error?: string }) | null;
  if (!response.ok) {
    throw new ApiError(response.status, reply?.error ?? `The gateway answered ${response.status}`);
  }
  return reply as T;
}

/** `ws://` or `wss://` address of a path on this page's origin. */
export function socketUrl(path: string): string {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`;
}
