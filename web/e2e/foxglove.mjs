/**
 * A Foxglove client of other people's making: Foxglove's own protocol and CDR libraries.
 *
 *     node foxglove.mjs ws://127.0.0.1:8765 TOPIC… < /dev/null
 *
 * Decodes the first message of each TOPIC by the schema that the server advertised, calls
 * /teleop/arm, asks for /peer.gain, the graph and an asset that is not there, publishes on
 * /goal_pose, /initialpose and /clicked_point what Lichtblick's 3D panel publishes (in both
 * encodings), and drives on /cmd_vel in JSON and CDR. Says "driving" once it does, goes on until a line comes on stdin, then
 * prints all that it was told as one JSON object.
 */
import { once } from "node:events";
import { createInterface } from "node:readline";
import protocol from "@foxglove/ws-protocol";
import rosmsg from "@foxglove/rosmsg";
import serialization from "@foxglove/rosmsg2-serialization";
import WebSocket from "ws";

const [url, ...topics] = process.argv.slice(2);
const TWIST = `Vector3 linear
Vector3 angular
===
MSG: geometry_msgs/Vector3
float64 x
float64 y
float64 z`;
const POSE = `std_msgs/Header header
geometry_msgs/Pose pose
===
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
===
MSG: geometry_msgs/Pose
geometry_msgs/Point position
geometry_msgs/Quaternion orientation
===
MSG: geometry_msgs/Point
float64 x
float64 y
float64 z
===
MSG: geometry_msgs/Quaternion
float64 x
float64 y
float64 z
float64 w`;
const ESTIMATE = `${POSE.replace("geometry_msgs/Pose pose", "geometry_msgs/PoseWithCovariance pose")}
===
MSG: geometry_msgs/PoseWithCovariance
geometry_msgs/Pose pose
float64[36] covariance`;
const POINT = POSE.replace("geometry_msgs/Pose pose", "geometry_msgs/Point point");
const schema = (text) => rosmsg.parse(text, { ros2: true });
const reader = (text) => new serialization.MessageReader(schema(text));
const writer = (text) => new serialization.MessageWriter(schema(text));
const told = { info: null, messages: {}, statuses: [], errors: [] };

const client = new protocol.FoxgloveClient({ ws: new WebSocket(url, ["foxglove.sdk.v1"]) });
client.on("error", (error) => told.errors.push(String(error)));
client.on("status", (status) => told.statuses.push(status.message));
client.on("serverInfo", (info) => { told.info = info; });

/** The first event of a kind that `accept` takes. */
function next(kind, accept = () => true) {
  return new Promise((resolve) => {
    const take = (event) => {
      if (accept(event)) {
        client.off(kind, take);
        resolve(event);
      }
    };
    client.on(kind, take);
  });
}

const readers = new Map();
let arm = null;
const served = new Promise((resolve) => {
  client.on("advertiseServices", (services) => {
    arm ??= services.find((each) => each.name === "/teleop/arm") ?? null;
    if (arm) resolve();
  });
});
const decoded = new Promise((resolve) => {
  client.on("advertise", (channels) => {
    for (const channel of channels.filter((each) => topics.includes(each.topic))) {
      const entry = { channel, reader: reader(channel.schema) };
      readers.set(client.subscribe(channel.id), entry);
    }
  });
  client.on("message", ({ subscriptionId, data, timestamp }) => {
    const { channel, reader: decode } = readers.get(subscriptionId);
    const message = decode.readMessage(data);
    told.messages[channel.topic] ??= { type: channel.schemaName, message, timestamp };
    if (topics.every((topic) => topic in told.messages)) resolve();
  });
});

await next("open");
await Promise.all([decoded, served]);

const answered = next("serviceCallResponse");
client.sendServiceCallRequest({
  serviceId: arm.id,
  callId: 7,
  encoding: "cdr",
  data: new DataView(writer(arm.request.schema).writeMessage({ data: true }).buffer),
});
const { data } = await answered;
told.arm = reader(arm.response.schema).readMessage(data);

const values = next("parameterValues", (event) => event.id === "ask");
client.getParameters(["/peer.gain"], "ask");
told.parameters = (await values).parameters;

const graph = next("connectionGraphUpdate");
client.subscribeConnectionGraph();
told.graph = (await graph).publishedTopics;

const asset = next("fetchAssetResponse");
client.fetchAsset("package://nowhere/../secret.png", 9);
told.asset = (await asset).error;

const header = { stamp: { sec: 7, nsec: 8 }, frame_id: "map" };
const pose = { position: { x: 1, y: 2, z: 0 }, orientation: { x: 0, y: 0, z: 0, w: 1 } };
const covariance = new Float64Array(36).fill(0.25);
const clicks = [
  ["/goal_pose", "geometry_msgs/PoseStamped", POSE, { header, pose }],
  ["/initialpose", "geometry_msgs/PoseWithCovarianceStamped", ESTIMATE,
    { header, pose: { covariance, pose } }],
  ["/clicked_point", "geometry_msgs/PointStamped", POINT, { header, point: pose.position }],
];
const plainArrays = (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
for (const [topic, schemaName, definition, message] of clicks) {
  for (const encoding of told.info.supportedEncodings) {
    const body = encoding === "cdr" ? writer(definition).writeMessage(message)
      : new TextEncoder().encode(JSON.stringify(message, plainArrays));
    client.sendMessage(client.advertise({ topic, encoding, schemaName }), body);
  }
}

const json = client.advertise({ topic: "/cmd_vel", encoding: "json", schemaName: "geometry_msgs/Twist" });
const cdr = client.advertise({ topic: "/cmd_vel", encoding: "cdr", schemaName: "geometry_msgs/msg/Twist" });
const zero = { x: 0, y: 0, z: 0 };
const twist = writer(TWIST);
const drive = setInterval(() => {
  const left = { linear: zero, angular: { ...zero, z: 0.25 } };
  client.sendMessage(json, new TextEncoder().encode(JSON.stringify(left)));
  client.sendMessage(cdr, twist.writeMessage({ linear: { ...zero, x: 0.5 }, angular: zero }));
}, 50);
console.log("driving");
await once(createInterface(process.stdin), "line");
clearInterval(drive);
const plain = (_, value) => (typeof value === "bigint" ? String(value)
  : ArrayBuffer.isView(value) ? Array.from(value) : value);
console.log(JSON.stringify(told, plain));
process.exit(0);
