/** Listening to `dt.<robot>.cmd.cmd_vel` from outside of the browser. */
import { connect } from "node:net";
import { wsconnect } from "@nats-io/nats-core";
import WebSocket from "ws";

/** Whether a command on the wire asks for motion. */
export function asksForMotion(text) {
  return [...text.matchAll(/"[xz]":(-?[\d.e-]+)/g)].some(([, value]) => Number(value) !== 0);
}

/** As `listenTcp`, through the gateway at `base` as `user`, whose role must see commands (admin). */
export async function listenGateway(base, user, password, robot, onCommand) {
  const headers = { "Content-Type": "application/json", "X-Dialtone": "1", Origin: base };
  const login = await fetch(`${base}/login`, {
    method: "POST", headers, body: JSON.stringify({ uuid: user, password }),
  });
  if (!login.ok) throw new Error(`${user} cannot log in: ${login.status}`);
  const Cookie = login.headers.getSetCookie().map((each) => each.split(";")[0]).join("; ");
  const access = await (await fetch(`${base}/api/v1/nats`, { headers: { ...headers, Cookie } })).json();
  const wsFactory = async (url) => ({
    socket: new WebSocket(url, { headers: { Cookie, Origin: base }, perMessageDeflate: false }),
    encrypted: false,
  });
  const client = await wsconnect({
    servers: base.replace(/^http/, "ws") + access.path, wsFactory, reconnect: false,
    ...(access.user ? { user: access.user, pass: access.password } : {}),
    ...(access.inbox_prefix ? { inboxPrefix: access.inbox_prefix } : {}),
  });
  client.subscribe(`dt.${robot}.cmd.cmd_vel`, {
    callback: (error, message) => {
      if (error === null) onCommand(performance.timeOrigin + performance.now(), message.string());
    },
  });
  await client.flush();
  return () => void client.close();
}

/** Call `onCommand(epochMs, text)` for each command that a NATS server on `url` delivers. */
export async function listenTcp(url, robot, onCommand) {
  const { hostname, port, username, password } = new URL(url);
  const socket = connect(Number(port || 4222), hostname);
  socket.setNoDelay(true);
  let text = "";
  let size = null;
  const ready = new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.on("data", (chunk) => {
      const at = performance.timeOrigin + performance.now();
      text += chunk.toString("latin1");
      for (;;) {
        if (size !== null) {
          if (text.length < size + 2) return;
          onCommand(at, text.slice(0, size));
          text = text.slice(size + 2);
          size = null;
        }
        const end = text.indexOf("\r\n");
        if (end < 0) return;
        const line = text.slice(0, end);
        text = text.slice(end + 2);
        if (line.startsWith("MSG ")) size = Number(line.split(" ").at(-1));
        else if (line === "PING") socket.write("PONG\r\n");
        else if (line === "PONG") resolve();
        else if (line.startsWith("-ERR")) reject(new Error(line));
      }
    });
  });
  const who = username ? `,"user":"${username}","pass":"${decodeURIComponent(password)}"` : "";
  socket.write(`CONNECT {"verbose":false,"lang":"measure"${who}}\r\n`);
  socket.write(`SUB dt.${robot}.cmd.cmd_vel 1\r\nPING\r\n`);
  await ready;
  return () => socket.destroy();
}
