/**
 * Reading XCDR1 bytes by a table of fields.
 *
 * Layout (OMG DDSI-RTPS 2.3 §10, XCDR1 plain): a 4-byte encapsulation header whose second byte is 1
 * for little endian; then the fields, each primitive aligned to its own size counted from the end
 * of that header; a string is a `uint32` length with its terminating NUL, then the bytes; a
 * sequence is a `uint32` count, then the elements; an array is its elements.
 */

import { WireError } from "./errors";

export type CdrValue = number | boolean | string | CdrValue[] | CdrObject;
export interface CdrObject {
  [field: string]: CdrValue;
}

/** `name: type`; a type is a primitive, `pkg/msg/Type`, `T[n]` or `T[]`. */
export type Schema = Readonly<Record<string, string>>;

const ENCAPSULATION_BYTES = 4;
/** More elements than any shown message has: a length beyond it is garbage, not data. */
const MAX_ELEMENTS = 1 << 20;

const SIZES: Readonly<Record<string, number>> = {
  bool: 1, byte: 1, char: 1, int8: 1, uint8: 1, int16: 2, uint16: 2, int32: 4, uint32: 4,
  float32: 4, int64: 8, uint64: 8, float64: 8,
};

/** Decode `payload` as `type`; raises `WireError` (`not_cdr`, `truncated`, `unknown_type`). */
export function readCdr(
  type: string,
  payload: Uint8Array,
  schemas: Readonly<Record<string, Schema>>,
): CdrObject {
  if (payload.length < ENCAPSULATION_BYTES || payload[0] !== 0 || (payload[1] ?? 2) > 1) {
    throw new WireError("not_cdr", "no plain CDR encapsulation header");
  }
  const reader = new Reader(payload, payload[1] === 1, schemas);
  try {
    return reader.message(type);
  } catch (error) {
    if (error instanceof RangeError) throw new WireError("truncated", type);
    throw error;
  }
}

const utf8 = new TextDecoder();

class Reader {
  private at = 0;
  private readonly view: DataView;
  private readonly bytes: Uint8Array;
  private readonly little: boolean;
  private readonly schemas: Readonly<Record<string, Schema>>;

  constructor(payload: Uint8Array, little: boolean, schemas: Readonly<Record<string, Schema>>) {
    this.bytes = payload.subarray(ENCAPSULATION_BYTES);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
    this.little = little;
    this.schemas = schemas;
  }

  message(type: string): CdrObject {
    const schema = this.schemas[type];
    if (schema === undefined) throw new WireError("unknown_type", type);
    const result: CdrObject = {};
    for (const field in schema) result[field] = this.value(schema[field] as string);
    return result;
  }

  private value(type: string): CdrValue {
    if (type.endsWith("]")) {
      const open = type.lastIndexOf("[");
      const count = type.slice(open + 1, -1);
      return this.elements(type.slice(0, open), count ? Number(count) : this.count());
    }
    if (type === "string") return this.text();
    return SIZES[type] === undefined ? this.message(type) : this.primitive(type);
  }

  private elements(type: string, count: number): CdrValue[] {
    const result: CdrValue[] = [];
    for (let index = 0; index < count; index++) result.push(this.value(type));
    return result;
  }

  private count(): number {
    const count = this.primitive("uint32") as number;
    if (count > MAX_ELEMENTS) throw new WireError("truncated", `sequence of ${count}`);
    return count;
  }

  private text(): string {
    const length = this.primitive("uint32") as number;
    if (length === 0 || this.at + length > this.bytes.length) {
      throw new WireError("truncated", `string of ${length} bytes at offset ${this.at}`);
    }
    const text = utf8.decode(this.bytes.subarray(this.at, this.at + length - 1));
    this.at += length;
    return text;
  }

  private primitive(type: string): number | boolean {
    const size = SIZES[type] as number;
    const at = this.at + ((size - (this.at % size)) % size);
    this.at = at + size;
    const { view, little } = this;
    switch (type) {
      case "bool": return view.getUint8(at) !== 0;
      case "int8": return view.getInt8(at);
      case "int16": return view.getInt16(at, little);
      case "uint16": return view.getUint16(at, little);
      case "int32": return view.getInt32(at, little);
      case "uint32": return view.getUint32(at, little);
      case "float32": return view.getFloat32(at, little);
      case "float64": return view.getFloat64(at, little);
      case "int64": return Number(view.getBigInt64(at, little));
      case "uint64": return Number(view.getBigUint64(at, little));
      default: return view.getUint8(at);
    }
  }
}
