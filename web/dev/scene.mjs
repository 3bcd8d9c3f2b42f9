/** A picture that moves with the pose, as a BMP: browsers show it by its content, no encoder. */

const [WIDTH, HEIGHT] = [320, 240];

export function renderBmp({ x, y, yaw }, camera, seq) {
  const rowBytes = WIDTH * 3;
  const file = Buffer.alloc(54 + rowBytes * HEIGHT);
  file.write("BM");
  file.writeUInt32LE(file.length, 2);
  file.writeUInt32LE(54, 10);
  file.writeUInt32LE(40, 14);
  file.writeInt32LE(WIDTH, 18);
  file.writeInt32LE(-HEIGHT, 22);
  file.writeUInt16LE(1, 26);
  file.writeUInt16LE(24, 28);
  const look = yaw + (camera === "rear" ? Math.PI : 0);
  const [cos, sin] = [Math.cos(look), Math.sin(look)];
  for (let row = 0; row < HEIGHT; row++) {
    const below = row - HEIGHT * 0.45;
    const ahead = below > 0 ? 90 / below : 0;
    for (let column = 0; column < WIDTH; column++) {
      const at = 54 + row * rowBytes + column * 3;
      if (below <= 0) {
        file[at] = 220 - row / 2;
        file[at + 1] = 180 - row / 3;
        file[at + 2] = 140 - row / 3;
        continue;
      }
      const side = ((WIDTH / 2 - column) / 160) * ahead;
      const worldX = x + cos * ahead - sin * side;
      const worldY = y + sin * ahead + cos * side;
      const tile = (Math.floor(worldX) + Math.floor(worldY)) & 1;
      const fade = Math.max(0, 1 - ahead / 30);
      const light = 95 + (tile ? 45 : 0) * fade;
      file[at] = light * 0.6;
      file[at + 1] = light * 0.95;
      file[at + 2] = light * 0.85;
    }
  }
  // A bar that walks, so that a standing robot's picture is still seen to live.
  for (let column = 0; column < 12; column++) file[54 + ((seq * 3 + column) % WIDTH) * 3 + 2] = 255;
  return file;
}
