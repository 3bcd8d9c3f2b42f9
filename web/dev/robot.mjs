/**
 * A robot that is none: a kinematic rover that speaks the NATS side of docs/wire.md, so that the
 * dashboard can be worked on without ROS. It keeps the promises that the page relies on: silence
 * stops it, the e-stop latches, motion wants the lease, a lease expires.
 */
import { headers } from "@nats-io/nats-core";
import { Writer } from "./cdr.mjs";

const LEASE_S = 2;
const RANK = { viewer: 0, operator: 1, admin: 2 };

export class MockRobot {
  constructor(connection, name) {
    this.nc = connection;
    this.name = name;
    this.pose = { x: 0, y: 0, yaw: 0 };
    this.speed = { x: 0, yaw: 0 };
    this.asked = { x: 0, yaw: 0, at: 0 };
    this.estop = false;
    this.armed = true;
    this.lease = null;
    this.recording = null;
    this.episodes = [];
    this.seq = 0;
    this.commands = 0;
    this.started = Date.now();
    this.#listen();
    this.timers = [
      setInterval(() => this.#step(0.02), 20),
      setInterval(() => this.#slow(), 1000),
    ];
  }

  close() {
    this.timers.forEach(clearInterval);
  }

  holder() {
    if (this.lease && Date.now() > this.lease.until) this.#event("teleop.lease", { event: "expired", by: this.lease.operator, holder: (this.lease = null) });
    return this.lease && { operator: this.lease.operator, role: this.lease.role, expires_in_s: (this.lease.until - Date.now()) / 1000 };
  }

  #listen() {
    const on = (tail, answer) =>
      this.nc.subscribe(`dt.${this.name}.${tail}`, {
        callback: (_, message) => {
          const body = message.data.length ? message.json() : {};
          const reply = answer(body);
          if (message.reply) message.respond(JSON.stringify({ ok: true, ...reply }));
        },
      });
    on("cmd.cmd_vel", (body) => this.#command(body));
    on("srv.teleop.status", () => ({
      armed: this.armed, mode: "GUIDED", link: "ok", estop: this.estop, holder: this.holder(),
      source: this.#moving() ? "nats" : "", reasons: this.estop ? ["estop"] : [], speed_limit_mps: 1.5,
    }));
    const estop = ({ active, operator }) => {
      this.estop = active !== false;
      this.#event("teleop.estop", { active: this.estop, by: operator });
      return { estop: this.estop };
    };
    on("srv.teleop.estop", estop);
    on("srv.teleop.estop.fire", (body) => estop({ ...body, active: true }));
    on("srv.teleop.arm", ({ active }) => ({ armed: (this.armed = active === true) }));
    for (const verb of ["acquire", "renew", "release", "force"]) {
      on(`srv.teleop.lease.${verb}`, (body) => this.#lease(verb, body));
    }
    on("srv.recorder.start", ({ task }) => {
      if (this.recording) return { ok: false, error: "already recording" };
      const name = `ep_${new Date().toISOString().replace(/\D/g, "").slice(0, 14)}`;
      this.recording = { name, task: task ?? "", started_at_s: Date.now() / 1000, messages: 0 };
      return { episode: name, path: `/tmp/${name}` };
    });
    const end = ({ outcome = "" }, keep) => {
      const ended = this.recording;
      if (!ended) return { ok: false, error: "not recording" };
      this.recording = null;
      const length = Date.now() / 1000 - ended.started_at_s;
      if (keep) this.episodes.push({ ...ended, outcome, duration_s: length, bytes: ended.messages * 900, recovered: false, gate: "green" });
      return { episode: ended.name, messages: ended.messages };
    };
    on("srv.recorder.stop", (body) => end(body, true));
    on("srv.recorder.discard", (body) => end(body, false));
    on("srv.recorder.status", () => ({
      recording: this.recording !== null, episode: this.recording?.name ?? null,
      messages: this.recording?.messages ?? 0, lost: 0,
    }));
    on("srv.bridge.routes", () => ({ routes: this.#routes() }));
    this.nc.subscribe("$SRV.PING", {
      callback: (_, message) => message.respond(JSON.stringify({ name: `${this.name}-teleop`, type: "io.nats.micro.v1.ping_response" })),
    });
  }

  #command(body) {
    this.commands++;
    if (this.holder()?.operator !== body.operator) return;
    this.asked = { x: body.linear?.x ?? 0, yaw: body.angular?.z ?? 0, at: Date.now() };
  }

  #lease(verb, { operator, role = "operator" }) {
    const held = this.holder();
    const mine = held?.operator === operator;
    const event = (name) => this.#event("teleop.lease", { event: name, holder: this.holder(), by: operator });
    if (verb === "release") {
      if (mine) this.lease = null;
      if (mine) event("released");
      return {};
    }
    const outranks = verb === "force" && RANK[role] > RANK[held?.role ?? "viewer"];
    if (held && !mine && !outranks) return { ok: false, error: `${held.operator} has control`, holder: held };
    if (verb === "renew" && !mine) return { ok: false, error: "the lease is not yours", holder: held };
    this.lease = { operator, role: mine ? held.role : role, until: Date.now() + LEASE_S * 1000 };
    if (!mine) event(held ? "forced" : "acquired");
    return { holder: this.holder(), ttl_s: LEASE_S };
  }

  #moving() {
    return Date.now() - this.asked.at < 300 && !this.estop && this.armed && this.holder() !== null;
  }

  #step(dt) {
    const want = this.#moving() ? this.asked : { x: 0, yaw: 0 };
    this.speed.x += Math.max(-3 * dt, Math.min(3 * dt, want.x - this.speed.x));
    this.speed.yaw += Math.max(-6 * dt, Math.min(6 * dt, want.yaw - this.speed.yaw));
    this.pose.yaw += this.speed.yaw * dt;
    this.pose.x += this.speed.x * Math.cos(this.pose.yaw) * dt;
    this.pose.y += this.speed.x * Math.sin(this.pose.yaw) * dt;
    const zeros = new Array(36).fill(0);
    const q = [0, 0, Math.sin(this.pose.yaw / 2), Math.cos(this.pose.yaw / 2)];
    this.#publish("odom", "nav_msgs/msg/Odometry", new Writer().header("odom").text("base_link")
      .f64(this.pose.x, this.pose.y, 0, ...q, ...zeros)
      .f64(this.speed.x, 0, 0, 0, 0, this.speed.yaw, ...zeros));
    const tilt = Math.sin(Date.now() / 900) * 0.02 - this.speed.x * 0.03;
    const half = this.pose.yaw / 2;
    this.#publish("imu.data", "sensor_msgs/msg/Imu", new Writer().header("base_link")
      .f64(0, tilt / 2, Math.sin(half), Math.cos(half), ...zeros.slice(0, 9))
      .f64(0.002 * Math.random(), 0.002 * Math.random(), this.speed.yaw, ...zeros.slice(0, 9))
      .f64(0, 0, 9.81 + 0.05 * Math.random(), ...zeros.slice(0, 9)));
    if (this.#moving()) {
      this.#publish("teleop.applied", "geometry_msgs/msg/TwistStamped",
        new Writer().header("base_link").f64(want.x, 0, 0, 0, 0, want.yaw));
    }
  }

  #slow() {
    const left = Math.max(0.05, 0.86 - (Date.now() - this.started) / 3.6e6);
    this.#publish("battery_state", "sensor_msgs/msg/BatteryState", new Writer().header("")
      .f32(11 + 1.6 * left, 24, -2.1, 0, 0, 0, left).u8(2).u8(1).u8(3).u8(1).u32(0).u32(0).text("deck").text(""));
    const parts = [
      ["bridge: nats", 0, "connected", { rtt_ms: "0.4", dropped: "0" }],
      ["camera_front: driver", 0, "30.0 Hz", { rate_hz: (29.9 + Math.random() / 5).toFixed(2), encode_ms: "4.1" }],
      ["host_metrics: cpu", 1, "load is high", { cpu_percent: (60 + 20 * Math.random()).toFixed(1), temperature_c: "61.5" }],
      ["recorder: gate", this.recording ? 0 : 1, this.recording ? "green" : "idle", { messages: String(this.recording?.messages ?? 0) }],
      ["teleop: pipeline", this.estop ? 2 : 0, this.estop ? "e-stop is active" : "ok", { commands: String(this.commands) }],
    ];
    const writer = new Writer().header("").u32(parts.length);
    for (const [name, level, message, values] of parts) {
      writer.u8(level).text(name).text(message).text(this.name).u32(Object.keys(values).length);
      for (const [key, value] of Object.entries(values)) writer.text(key).text(value);
    }
    this.#publish("diagnostics", "diagnostic_msgs/msg/DiagnosticArray", writer);
    this.holder();
  }

  #routes() {
    return [["odom", "nav_msgs/msg/Odometry", 50, 36e3], ["imu/data", "sensor_msgs/msg/Imu", 50, 17e3],
      ["camera/front/image_raw/compressed", "sensor_msgs/msg/CompressedImage", 30, 1.2e6],
      ["battery_state", "sensor_msgs/msg/BatteryState", 1, 90]].map(([topic, type, rate_hz, bytes_per_s]) => ({
      topic: `/${topic}`, type, encoding: topic.startsWith("camera") ? "jpeg" : "cdr", priority: "telemetry",
      subscribed: true, rate_hz, bytes_per_s, age_s: 0.02, transports: { nats: { dropped: 0 } },
    }));
  }

  #publish(path, type, writer) {
    const head = headers();
    head.set("Dt-Type", type);
    head.set("Dt-Encoding", "cdr");
    head.set("Dt-Stamp-Ns", `${Date.now()}000000`);
    head.set("Dt-Seq", String(this.seq++));
    this.nc.publish(`dt.${this.name}.tlm.${path}`, writer.done(), { headers: head });
    if (this.recording) this.recording.messages++;
  }

  #event(name, body) {
    this.nc.publish(`dt.${this.name}.evt.${name}`, JSON.stringify({ ...body, stamp_ns: Date.now() * 1e6 }));
  }
}
