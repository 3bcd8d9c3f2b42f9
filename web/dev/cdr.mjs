/** Just enough of a CDR writer for the mock robot: little endian, aligned behind the header. */
export class Writer {
  #bytes = [0, 1, 0, 0];

  #align(size) {
    while ((this.#bytes.length - 4) % size) this.#bytes.push(0);
  }

  #number(size, set) {
    this.#align(size);
    const view = new DataView(new ArrayBuffer(size));
    set(view);
    this.#bytes.push(...new Uint8Array(view.buffer));
    return this;
  }

  u8(value) {
    return this.#number(1, (view) => view.setUint8(0, value));
  }

  u16(value) {
    return this.#number(2, (view) => view.setUint16(0, value, true));
  }

  u32(value) {
    return this.#number(4, (view) => view.setUint32(0, value, true));
  }

  f32(...values) {
    for (const value of values) this.#number(4, (view) => view.setFloat32(0, value, true));
    return this;
  }

  f64(...values) {
    for (const value of values) this.#number(8, (view) => view.setFloat64(0, value, true));
    return this;
  }

  text(value) {
    const bytes = new TextEncoder().encode(value);
    this.u32(bytes.length + 1);
    this.#bytes.push(...bytes, 0);
    return this;
  }

  header(frame) {
    const now = Date.now();
    return this.u32(Math.floor(now / 1000)).u32((now % 1000) * 1e6).text(frame);
  }

  done() {
    return Uint8Array.from(this.#bytes);
  }
}
