import { describe, expect, test } from "vitest";
import cdr from "../../../src/dialtone_core/test/vectors/cdr.json";
import commands from "../../../src/dialtone_core/test/vectors/commands.json";
import subjects from "../../../src/dialtone_core/test/vectors/subjects.json";
import video from "../../../src/dialtone_core/test/vectors/video.json";
import type { CdrObject } from "./cdr";
import { WireError } from "./errors";
import { attitudeOf, diagnosticFigures, numericFields } from "./messages";
import { decodeMessage } from "./schemas";
import { commandSubject, eventSubject, isRobotName, serviceSubject, telemetrySubject } from "./subjects";
import { encodeVelocity } from "./velocity";
import { nsToMs, readVideoFrame } from "./video";

const bytes = (hex: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

describe("CDR", () => {
  test.each(cdr)("$type is read as rclpy wrote it", ({ type, hex, value }) => {
    expect(decodeMessage(type, bytes(hex))).toEqual(value);
  });

  test.each(cdr)("$type cut short anywhere is an error, never a wrong value", ({ type, hex }) => {
    const whole = bytes(hex);
    // The serialiser may leave up to 8 bytes of padding behind the last field.
    for (let length = 0; length < whole.length - 8; length++) {
      expect(() => decodeMessage(type, whole.subarray(0, length))).toThrow(WireError);
    }
  });

  test("a length that runs past the end is refused before anything is allocated", () => {
    const payload = new Uint8Array([0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
    expect(() => decodeMessage("diagnostic_msgs/msg/DiagnosticArray", payload)).toThrow(WireError);
  });

  test("an unknown type and foreign bytes are named", () => {
    expect(() => decodeMessage("x/msg/Y", bytes("00010000"))).toThrow("unknown_type");
    expect(() => decodeMessage("std_msgs/msg/Bool", bytes("7b7d"))).toThrow("not_cdr");
    expect(decodeMessage("std_msgs/msg/Float64", bytes("000000003ff0000000000000"))).toEqual({
      data: 1,
    });
  });

  test("a payload that lies inside of a larger buffer is read at its own offset", () => {
    const inner = bytes("00010000000000000000f03f");
    const outer = new Uint8Array(inner.length + 3);
    outer.set(inner, 3);
    expect(decodeMessage("std_msgs/msg/Float64", outer.subarray(3))).toEqual({ data: 1 });
  });
});

describe("velocity", () => {
  test.each(commands.encode)("$name is encoded as the robot reads it", (vector) => {
    const { x, yaw, operator, seq, ttl_ms, issued_ns, json } = vector;
    const envelope = { operator, seq, ttlMs: ttl_ms, issuedNs: BigInt(issued_ns) };
    expect(encodeVelocity({ x, yaw }, envelope)).toBe(json);
  });

  test("what the robot would refuse is refused here", () => {
    const envelope = { operator: "ada", seq: 1, ttlMs: 300, issuedNs: 1n };
    expect(() => encodeVelocity({ x: Number.NaN, yaw: 0 }, envelope)).toThrow("not_finite");
    expect(() => encodeVelocity({ x: 0, yaw: Infinity }, envelope)).toThrow("not_finite");
    expect(() => encodeVelocity({ x: 0, yaw: 0 }, { ...envelope, seq: 0.5 })).toThrow("seq");
    const long = { ...envelope, operator: "a".repeat(65) };
    expect(() => encodeVelocity({ x: 0, yaw: 0 }, long)).toThrow("operator");
  });
});

test.each(subjects)("$path is named as on the robot", ({ kind, robot, path, subject, namespace }) => {
  const [first = "", second = ""] = path.split(" ");
  const name = {
    tlm: () => telemetrySubject(robot, path, namespace),
    cmd: () => commandSubject(robot, path, namespace),
    evt: () => eventSubject(robot, path),
    srv: () => serviceSubject(robot, first, second),
  }[kind];
  expect(name?.()).toBe(subject);
});

test("a robot's name is one subject token", () => {
  expect(["rover", "r2_d2"].every(isRobotName)).toBe(true);
  expect(["", "Rover", "a.b", "a>", "1a", "a".repeat(64)].some(isRobotName)).toBe(false);
});

describe("video frames", () => {
  test.each(video)("frame $seq is read", (vector) => {
    const frame = readVideoFrame(bytes(vector.hex).buffer);
    expect([frame.kind, frame.seq]).toEqual([vector.kind, vector.seq]);
    expect(frame.picture).toEqual(bytes(vector.picture_hex));
    expect(frame.captureMs).toBe(nsToMs(BigInt(vector.capture_ns)));
    expect(frame.sentMs - frame.captureMs).toBeCloseTo(2.5, 2);
  });

  test("a short or foreign frame is refused", () => {
    expect(() => readVideoFrame(new ArrayBuffer(23))).toThrow("truncated");
    expect(() => readVideoFrame(new ArrayBuffer(24))).toThrow("version");
  });
});

describe("what is computed from messages", () => {
  test("attitude follows REP 103", () => {
    const half = Math.SQRT1_2;
    expect(attitudeOf({ x: 0, y: 0, z: half, w: half }).yaw).toBeCloseTo(Math.PI / 2);
    expect(attitudeOf({ x: half, y: 0, z: 0, w: half }).roll).toBeCloseTo(Math.PI / 2);
    expect(attitudeOf({ x: 0, y: 0.8, z: 0, w: 0.8 }).pitch).toBeCloseTo(Math.PI / 2);
  });

  test("numeric fields are found by path, without stamps and covariances", () => {
    const odometry = cdr.find(({ type }) => type.endsWith("Odometry"));
    const fields = numericFields(odometry?.value as unknown as CdrObject);
    expect(fields.get("twist.twist.linear.x")).toBe(0.4);
    expect([...fields.keys()].some((path) => /stamp|covariance/.test(path))).toBe(false);
  });

  test("only figures of diagnostics are plotted", () => {
    const status = {
      level: 0, name: "n: p", message: "", hardware_id: "",
      values: [
        { key: "rate", value: "29.5" },
        { key: "state", value: "ok" },
        { key: "blank", value: "" },
      ],
    };
    expect([...diagnosticFigures([status])]).toEqual([["n: p/rate", 29.5]]);
  });
});
