/**
 * The gateway without a robot: `npm run mock`, then open the address that it prints.
 *
 * Serves web/dist under the content policy of the real one, starts a nats-server (from PATH or
 * $NATS_SERVER) and a mock robot. Any password but "wrong" is right; the user's name is the role
 * (`viewer`, `admin`), anything else is an operator. `--port N` (0: any), `--json` prints one line.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect as dial, createServer as listen } from "node:net";
import { tmpdir } from "node:os";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { wsconnect } from "@nats-io/nats-core";
import WebSocket, { WebSocketServer } from "ws";
import { MockRobot } from "./robot.mjs";
import { renderBmp } from "./scene.mjs";

const { values: options } = parseArgs({
  options: { port: { type: "string", default: "8080" }, json: { type: "boolean" }, insecure: { type: "boolean" } },
});
const DIST = join(dirname(fileURLToPath(import.meta.url)), "..", "dist");
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png", ".webmanifest": "application/manifest+json" };
const CSP = "default-src 'self'; img-src 'self' blob:; style-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const sessions = new Map();

async function freePort() {
  const server = listen().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function startNats() {
  const [port, wsPort] = [await freePort(), await freePort()];
  const folder = mkdtempSync(join(tmpdir(), "dialtone-mock-"));
  writeFileSync(join(folder, "nats.conf"), `host: 127.0.0.1\nport: ${port}\nwebsocket { host: 127.0.0.1, port: ${wsPort}, no_tls: true }\n`);
  const child = spawn(process.env.NATS_SERVER ?? "nats-server", ["-c", join(folder, "nats.conf")], { stdio: "ignore" });
  child.on("error", () => {
    console.error("nats-server is not on PATH; set NATS_SERVER to it");
    process.exit(2);
  });
  process.on("exit", () => {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });
  return { port, wsPort };
}

async function connectNats(wsPort) {
  const wsFactory = async (url) => ({ socket: new WebSocket(url), encrypted: false });
  for (let attempt = 0; ; attempt++) {
    try {
      return await wsconnect({ servers: `ws://127.0.0.1:${wsPort}`, wsFactory });
    } catch (error) {
      if (attempt > 50) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

function sessionOf(request) {
  if (options.insecure) return { user: "local", role: "operator", session: "local" };
  const id = /dt_session=(\w+)/.exec(request.headers.cookie ?? "")?.[1];
  return sessions.get(id) ?? null;
}

const nats = await startNats();
const robot = new MockRobot(await connectNats(nats.wsPort), "rover");
const second = new MockRobot(await connectNats(nats.wsPort), "scout");
const CAMERAS = ["front", "rear"];

const GET = {
  "/api/v1/session": (session) => ({ ...session, expires_at_s: Date.now() / 1000 + 3600, robot: "rover", insecure_local: Boolean(options.insecure) }),
  "/api/v1/robot": () => ({ robot: "rover", namespace: "/", version: "0.1.0", uptime_s: process.uptime(), nats_connected: true, foxglove_url: "ws://127.0.0.1:8765", cameras: CAMERAS }),
  "/api/v1/nats": () => ({ path: "/nats", robot: "rover" }),
  "/api/v1/episodes": () => robot.episodes,
  "/api/v1/operators": () => ({ holder: robot.holder(), connected: [...sessions.values()].map((each) => ({ ...each, since_s: 0, address: "127.0.0.1" })) }),
  "/api/v1/logs": () => ({ names: ["bridge", "teleop"], lines: Array.from({ length: 40 }, (_, n) => `[INFO] [bridge]: line ${n} of a log`) }),
  "/api/v1/metrics": () => ({ connections: 3, throughput_bytes_s: 1.3e6, host: { cpu_percent: 41.5, memory_percent: 37, disk_free_gb: 118.2, temperature_c: 61, uptime_s: 93_784 }, processes: [{ name: "bridge", cpu_percent: 11.2, rss_mb: 74 }, { name: "teleop", cpu_percent: 6.3, rss_mb: 61 }, { name: "camera_front", cpu_percent: 18.9, rss_mb: 88 }] }),
};

function send(response, status, body, headers = {}) {
  response.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store", ...headers });
  response.end(JSON.stringify(body));
}

async function post(request, response, path) {
  let text = "";
  for await (const chunk of request) text += chunk;
  if (path === "/login") {
    const { uuid, password } = JSON.parse(text);
    if (password === "wrong") return send(response, 401, { error: "wrong user or password" });
    const id = randomBytes(8).toString("hex");
    const role = ["viewer", "admin"].includes(uuid) ? uuid : "operator";
    sessions.set(id, { user: uuid, role, session: id.slice(0, 4) });
    return send(response, 200, { user: uuid, role }, { "Set-Cookie": `dt_session=${id}; HttpOnly; SameSite=Strict; Path=/` });
  }
  if (path === "/api/v1/webrtc") return send(response, 503, { error: "the mock has no H.264" });
  const labelled = /^\/api\/v1\/episodes\/([^/]+)\/labels$/.exec(path)?.[1];
  if (labelled) {
    const episode = robot.episodes.find(({ name }) => name === decodeURIComponent(labelled));
    if (!episode) return send(response, 404, { error: "no episode of that name" });
    Object.assign(episode, JSON.parse(text));
  }
  if (path === "/logout") sessions.delete(/dt_session=(\w+)/.exec(request.headers.cookie ?? "")?.[1]);
  return send(response, 200, { ok: true, expires_at_s: Date.now() / 1000 + 3600 });
}

const server = createServer((request, response) => {
  const path = new URL(request.url, "http://x").pathname;
  if (request.method === "POST") return void post(request, response, path);
  if (path.startsWith("/api/") || path === "/healthz") {
    const session = sessionOf(request);
    if (!session) return send(response, 401, { error: "log in first" });
    return path in GET ? send(response, 200, GET[path](session)) : send(response, 404, { error: "no such thing" });
  }
  const file = join(DIST, normalize(path === "/" ? "/index.html" : path));
  if (!file.startsWith(DIST) || !existsSync(file)) return send(response, 404, { error: "no such file" });
  response.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream", "Content-Security-Policy": CSP });
  response.end(readFileSync(file));
});

const video = new WebSocketServer({ noServer: true });
video.on("connection", (socket, _, camera) => {
  let credits = 0;
  let seq = 0;
  socket.on("message", (data) => {
    const body = JSON.parse(String(data));
    if (body.credits) credits += body.credits;
    if (body.ping) socket.send(JSON.stringify({ pong: body.ping, server_ns: (performance.timeOrigin + performance.now()) * 1e6 }));
  });
  const timer = setInterval(() => {
    seq++;
    if (credits <= 0) return;
    credits--;
    const head = Buffer.alloc(24);
    const now = BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6));
    head.writeUInt8(1, 0);
    head.writeUInt32LE(seq, 4);
    head.writeBigUInt64LE(now, 8);
    head.writeBigUInt64LE(now, 16);
    socket.send(Buffer.concat([head, renderBmp(robot.pose, camera, seq)]));
  }, 40);
  socket.on("close", () => clearInterval(timer));
});

server.on("upgrade", (request, socket, head) => {
  const path = new URL(request.url, "http://x").pathname;
  if (!sessionOf(request)) return socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
  const camera = /^\/ws\/video\/(\w+)$/.exec(path)?.[1];
  if (camera) return video.handleUpgrade(request, socket, head, (ws) => video.emit("connection", ws, request, camera));
  if (path !== "/nats") return socket.destroy();
  const upstream = dial(nats.wsPort, "127.0.0.1", () => {
    const lines = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}`);
    upstream.write(`GET / HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);
    upstream.write(head);
    socket.pipe(upstream).pipe(socket);
  });
  upstream.on("error", () => socket.destroy());
  socket.on("error", () => upstream.destroy());
});

server.listen(Number(options.port), "127.0.0.1", () => {
  const { port } = server.address();
  const where = { url: `http://127.0.0.1:${port}`, nats_url: `nats://127.0.0.1:${nats.port}` };
  console.log(options.json ? JSON.stringify(where) : `Dashboard on ${where.url} (mock robot)`);
});
const stop = () => {
  robot.close();
  second.close();
  process.exit(0);
};
process.on("SIGTERM", stop);
process.on("SIGINT", stop);
