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

/** First token of the tail of a subject whose topic lies outside of the robot's namespace. */
const ROOT = "_root";

/**
 * Tail of a subject: `camera/front` → `camera.front`. A full name loses the namespace where it lies
 * in it, and goes under `_root` elsewhere; in the namespace `/` there is no elsewhere.
 */
export function topicPath(topic: string, namespace = "/"): string {
  let tail = topic;
  if (namespace !== "/") {
    if (tail.startsWith(`${namespace}/`)) tail = tail.slice(namespace.length + 1);
    if (tail.split("/")[0] === ROOT) tail = `${namespace}/${tail}`;
    if (tail.startsWith("/")) tail = ROOT + tail;
  }
  return tail.replace(/^\/+|\/+$/g, "").replaceAll("/", ".");
}

/** `dt.<robot>.tlm.<topic.path>`: a ROS topic on its way out. */
export function telemetrySubject(robot: string, topic: string, namespace = "/"): string {
  return `dt.${robot}.tlm.${topicPath(topic, namespace)}`;
}

/** `dt.<robot>.cmd.<topic.path>`: a command on its way in. */
export function commandSubject(robot: string, topic: string, namespace = "/"): string {
  return `dt.${robot}.cmd.${topicPath(topic, namespace)}`;
}

/** `dt.<robot>.evt.<name>`: something happened. */
export function eventSubject(robot: string, name: string): string {
  return `dt.${robot}.evt.${name}`;
}

/** `dt.<robot>.srv.<package>.<verb>`: request and reply. */
export function serviceSubject(robot: string, pkg: string, verb: string): string {
  return `dt.${robot}.srv.${pkg}.${verb}`;
}
