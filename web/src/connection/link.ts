/**
 * The NATS connection of this page.
 *
 * Each connection is made anew with fresh credentials, and subscriptions are kept here: a client
 * that reconnected by itself could deliver commands that it had buffered while the link was down.
 */

import {
  type Msg, type NatsConnection, jwtAuthenticator, type Subscription, wsconnect,
} from "@nats-io/nats-core";
import { signal } from "../state/signals";
import { type NatsAccess, socketUrl } from "./api";
import { Recent } from "./stats";

export type LinkState = "connecting" | "up" | "down";
export type OnMessage = (message: Msg) => void;

export interface Reply {
  ok: boolean;
  error?: string;
  [field: string]: unknown;
}

interface Interest {
  readonly subject: string;
  readonly onMessage: OnMessage;
  live: Subscription | null;
}

const PING_EVERY_MS = 400;
const DEAD_AFTER_MS = 4000;
const CONNECT_MS = 5000;
const RETRY_MS = [250, 500, 1000, 2000, 4000] as const;

export class Link {
  readonly state = signal<LinkState>("connecting");
  /** Why it is down, for a person. */
  readonly why = signal("");
  /** Median of the last round trips to the NATS server, ms. */
  readonly rttMs = signal<number | null>(null);

  private readonly access: () => Promise<NatsAccess>;
  private readonly interests = new Set<Interest>();
  private readonly trips = new Recent(9);
  private connection: NatsConnection | null = null;
  private socket: WebSocket | null = null;
  private pinged: number | null = null;
  private stopped = false;
  private attempt = 0;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private readonly beat: ReturnType<typeof setInterval>;

  /** `access` fetches credentials; it is asked again for each connection. */
  constructor(access: () => Promise<NatsAccess>) {
    this.access = access;
    this.beat = setInterval(() => void this.ping(), PING_EVERY_MS);
    void this.connect();
  }

  /** Call `onMessage` for each message until the returned function is called. */
  subscribe(subject: string, onMessage: OnMessage): () => void {
    const interest: Interest = { subject, onMessage, live: null };
    this.interests.add(interest);
    this.open(interest);
    return () => {
      this.interests.delete(interest);
      interest.live?.unsubscribe();
    };
  }

  /** Send now or not at all: `false` where the link is down, and nothing is kept for later. */
  publish(subject: string, payload: string): boolean {
    if (this.connection === null || this.state.peek() !== "up") return false;
    try {
      this.connection.publish(subject, payload);
    } catch {
      return false;
    }
    return true;
  }

  /** Ask a service; a reply that is missing or no JSON object becomes `ok: false`. */
  async request(subject: string, body: object, timeoutMs = 1000): Promise<Reply> {
    if (this.connection === null || this.state.peek() !== "up") {
      return { ok: false, error: "Not connected to the robot" };
    }
    try {
      const message = await this.connection.request(subject, JSON.stringify(body), {
        timeout: timeoutMs,
      });
      const reply: unknown = message.json();
      if (typeof reply === "object" && reply !== null && "ok" in reply) return reply as Reply;
      return { ok: false, error: "The robot's reply is not understood" };
    } catch (error) {
      return { ok: false, error: explain(error) };
    }
  }

  /** Ask everybody; `onReply` gets each JSON object that comes within `waitMs`. */
  async gather(
    subject: string,
    waitMs: number,
    onReply: (body: Record<string, unknown>) => void,
  ): Promise<void> {
    if (this.connection === null || this.state.peek() !== "up") return;
    try {
      const replies = await this.connection.requestMany(subject, "", {
        strategy: "timer",
        maxWait: waitMs,
      });
      for await (const reply of replies) onReply(reply.json<Record<string, unknown>>());
    } catch {
      // A role may not ask this; then nobody is known.
    }
  }

  /** Bytes that the browser has not handed to the network yet: above 0 the link is stalled. */
  get backlogBytes(): number {
    return this.socket?.bufferedAmount ?? 0;
  }

  /** How long the ping that waits for its answer has been waiting, ms; 0 where none does. */
  silenceMs(now: number): number {
    return this.pinged === null ? 0 : now - this.pinged;
  }

  close(): void {
    this.stopped = true;
    clearInterval(this.beat);
    clearTimeout(this.retry);
    this.drop("closed");
  }

  private async connect(): Promise<void> {
    try {
      const access = await this.access();
      if (this.stopped) return;
      const attempt = new Attempt();
      const connecting = wsconnect(this.options(access, attempt));
      connecting.then((connection) => attempt.succeeded(connection), () => {});
      this.adopt(await Promise.race([connecting, attempt.failed]));
    } catch (error) {
      this.fail(explain(error));
    }
  }

  private options(access: NatsAccess, attempt: Attempt): Parameters<typeof wsconnect>[0] {
    return {
      servers: socketUrl(access.path),
      name: "dashboard",
      reconnect: false,
      ignoreClusterUpdates: true,
      timeout: CONNECT_MS,
      pingInterval: 30_000,
      noAsyncTraces: true,
      ...(access.inbox_prefix ? { inboxPrefix: access.inbox_prefix } : {}),
      ...(access.user !== undefined ? { user: access.user, pass: access.password ?? "" } : {}),
      ...(access.token !== undefined ? { token: access.token } : {}),
      ...(access.jwt !== undefined
        ? { authenticator: jwtAuthenticator(access.jwt, new TextEncoder().encode(access.seed)) }
        : {}),
      wsFactory: async (url: string) => {
        this.socket = attempt.open(url);
        return { socket: this.socket, encrypted: url.startsWith("wss:") };
      },
    } as Parameters<typeof wsconnect>[0];
  }

  private adopt(connection: NatsConnection): void {
    if (this.stopped) {
      void connection.close();
      return;
    }
    this.connection = connection;
    this.attempt = 0;
    this.trips.clear();
    for (const interest of this.interests) this.open(interest);
    this.why.set("");
    this.state.set("up");
    void this.ping();
    void connection.closed().then((error) => {
      if (this.connection === connection) this.fail(error ? explain(error) : "Connection lost");
    });
  }

  private open(interest: Interest): void {
    if (this.connection === null) return;
    const callback = (error: Error | null, message: Msg) => {
      if (error === null) interest.onMessage(message);
    };
    interest.live = this.connection.subscribe(interest.subject, { callback });
  }

  private async ping(): Promise<void> {
    const connection = this.connection;
    const now = performance.now();
    if (connection === null) return;
    if (this.pinged !== null) {
      if (now - this.pinged > DEAD_AFTER_MS) this.fail("The connection is stalled");
      return;
    }
    this.pinged = now;
    try {
      await connection.flush();
    } catch {
      return;
    }
    if (this.connection !== connection) return;
    this.trips.add(performance.now() - now);
    this.pinged = null;
    this.rttMs.set(this.trips.quantile(0.5));
  }

  private fail(why: string): void {
    if (this.stopped) return;
    this.drop(why);
    const wait = RETRY_MS[Math.min(this.attempt++, RETRY_MS.length - 1)] as number;
    clearTimeout(this.retry);
    this.retry = setTimeout(() => void this.connect(), wait * (0.75 + Math.random() / 2));
  }

  private drop(why: string): void {
    const connection = this.connection;
    this.connection = null;
    for (const interest of this.interests) interest.live = null;
    this.pinged = null;
    this.rttMs.set(null);
    this.why.set(why);
    this.state.set("down");
    this.socket?.close();
    this.socket = null;
    void connection?.close();
  }
}

/**
 * One attempt to connect, given up when its socket closes or nothing comes of it: the client
 * library waits on where a socket closes without an error before the server has spoken.
 */
class Attempt {
  over = false;
  readonly failed: Promise<never>;
  private readonly timer: ReturnType<typeof setTimeout>;
  private reject: (error: Error) => void = () => {};

  constructor() {
    this.failed = new Promise((_, reject) => {
      this.reject = reject;
    });
    this.failed.catch(() => {});
    this.timer = setTimeout(() => this.end("No answer in time"), CONNECT_MS);
  }

  open(url: string): WebSocket {
    if (this.over) throw new Error("given up");
    const socket = new WebSocket(url);
    socket.addEventListener("close", () => this.end("The gateway closed the connection"));
    return socket;
  }

  /** Too late, it is closed again. */
  succeeded(connection: NatsConnection): void {
    if (this.over) void connection.close();
    clearTimeout(this.timer);
  }

  private end(why: string): void {
    this.over = true;
    this.reject(new Error(why));
  }
}

function explain(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  if (/no responders/i.test(text)) return "Nobody on the robot answers this";
  if (/timeout/i.test(text)) return "No answer in time";
  if (/permission|authorization/i.test(text)) return "Your role does not allow this";
  return text || "Connection refused";
}
