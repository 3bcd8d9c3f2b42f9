/**
 * Reads a closed episode's file with libraries of other people's making: every message by its
 * index, checksums compared, each decoded by the schema in the file.
 *
 *     node episode.mjs FILE.mcap
 *
 * Prints {topic: {type, count, inOrder, last}} as JSON; bytes are told as their sum and number.
 */
import { open } from "node:fs/promises";
import { McapIndexedReader } from "@mcap/core";
import rosmsg from "@foxglove/rosmsg";
import serialization from "@foxglove/rosmsg2-serialization";
import { decompress } from "fzstd";

const file = await open(process.argv[2]);
const readable = {
  size: async () => BigInt((await file.stat()).size),
  read: async (offset, size) => {
    const data = new Uint8Array(Number(size));
    await file.read(data, 0, data.length, Number(offset));
    return data;
  },
};
const reader = await McapIndexedReader.Initialize({
  readable,
  decompressHandlers: { zstd: (data, size) => decompress(data, new Uint8Array(Number(size))) },
});
const decoders = new Map();
const told = {};
for await (const message of reader.readMessages({ validateCrcs: true })) {
  const channel = reader.channelsById.get(message.channelId);
  const schema = reader.schemasById.get(channel.schemaId);
  let decoder = decoders.get(schema.id);
  if (decoder === undefined) {
    const text = new TextDecoder().decode(schema.data);
    decoder = new serialization.MessageReader(rosmsg.parse(text, { ros2: true }));
    decoders.set(schema.id, decoder);
  }
  const topic = (told[channel.topic] ??= { type: schema.name, count: 0, inOrder: true, at: 0n });
  topic.count += 1;
  topic.inOrder &&= message.logTime >= topic.at;
  topic.at = message.logTime;
  topic.last = decoder.readMessage(message.data);
}
const counted = reader.statistics.messageCount;
const read = Object.values(told).reduce((sum, each) => sum + BigInt(each.count), 0n);
if (counted !== read) throw new Error(`${counted} messages are counted, ${read} were read`);
const plain = (_, value) => {
  if (typeof value === "bigint") return String(value);
  if (value instanceof Uint8Array)
    return { bytes: value.length, sum: value.reduce((sum, byte) => sum + byte, 0) };
  return ArrayBuffer.isView(value) ? [...value] : value;
};
console.log(JSON.stringify({ profile: reader.header.profile, topics: told }, plain));
