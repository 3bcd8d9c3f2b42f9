/** NATS subjects and telemetry headers, as docs/wire.md names them. Pure. */

export const HEADER = {
  type: "Dt-Type",
  encoding: "Dt-Encoding",
  stampNs: "Dt-Stamp-Ns",
  seq: "Dt-Seq",
} as const;

const ROBOT = /^[a-z][a-z0-9_]{0,62}$/;

/** Whether `name` may be a robot's name: a NATS token and a ROS namespace at once. */
/** The camera whose pictures a topic carries (`/ns/camera/front/image_raw/compressed`), or `null`. */
export function cameraOf(topic: string): string | null {
  return /(?:^|\/)camera\/([a-z0-9_]+)\/image_raw\/compressed$/.exec(topic)?.[1] ?? null;
}

export function isRobotName(name: string): boolean {
  return ROBOT.test(name);
}

/** Tail of a subject for a relative ROS topic: `camera/front` → `camera.front`. */
export function topicPath(topic: string): string {
  return topic.replace(/^\/+|\/+$/g, "").replaceAll("/", ".");
}

/** `dt.<robot>.tlm.<topic.path>`: a ROS topic on its way out. */
export function telemetrySubject(robot: string, topic: string): string {
  return `dt.${robot}.tlm.${topicPath(topic)}`;
}

/** `dt.<robot>.cmd.<topic.path>`: a command on its way in. */
export function commandSubject(robot: string, path: string): string {
  return `dt.${robot}.cmd.${topicPath(path)}`;
}

/** `dt.<robot>.evt.<name>`: something happened. */
export function eventSubject(robot: string, name: string): string {
  return `dt.${robot}.evt.${name}`;
}

/** `dt.<robot>.srv.<package>.<verb>`: request and reply. */
export function serviceSubject(robot: string, pkg: string, verb: string): string {
  return `dt.${robot}.srv.${pkg}.${verb}`;
}
