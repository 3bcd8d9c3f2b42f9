/** Numbers as people read them. Pure. */

export function fixed(value: number | null | undefined, digits: number, unit = ""): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const text = value.toFixed(digits);
  return `${Number(text) === 0 ? text.replace("-", "") : text}${unit && `\u00a0${unit}`}`;
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = value;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit++;
  }
  return `${size.toFixed(size < 10 && unit > 0 ? 1 : 0)}\u00a0${units[unit]}`;
}

/** `42 s`, `3:07`, `2:05:09`, `3 d 4 h`. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  const whole = Math.max(0, Math.round(seconds));
  const [days, hours] = [Math.floor(whole / 86_400), Math.floor(whole / 3600) % 24];
  const [minutes, rest] = [Math.floor(whole / 60) % 60, whole % 60];
  const two = (value: number) => String(value).padStart(2, "0");
  if (days > 0) return `${days}\u00a0d ${hours}\u00a0h`;
  if (hours > 0) return `${hours}:${two(minutes)}:${two(rest)}`;
  return minutes > 0 ? `${minutes}:${two(rest)}` : `${rest}\u00a0s`;
}

export function clock(date: Date): string {
  return date.toLocaleTimeString([], { hour12: false });
}

export function when(epochS: number | null | undefined): string {
  if (!epochS) return "–";
  return new Date(epochS * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

/** `accel_limit` → `Accel limit`: a reason's token for a person. */
export function words(token: string): string {
  if (token === "estop") return "E-stop";
  const text = token.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
