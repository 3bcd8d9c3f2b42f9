/**
 * Preferences of this browser, and who is signed in. Not modal: a modal dialog would make the
 * e-stop behind it unreachable.
 */

import { api, type RobotInfo, socketUrl } from "../connection/api";
import type { App } from "../state/app";
import { settings, type Theme, THEMES, VIDEO_PATHS, type VideoPath } from "../state/settings";
import { signal } from "../state/signals";
import { h } from "../widgets/dom";
import { duration } from "./format";

export function settingsDialog(
  app: App, info: () => RobotInfo | null, onLogout: () => void,
): HTMLDialogElement {
  const { user, role } = app.session;
  const logout = async () => {
    app.close();
    await api("/logout", {}).catch(() => {});
    onLogout();
  };
  const address = signal("");
  const foxglove = async () => {
    try {
      const { path } = await api<{ path: string }>("/api/v1/foxglove", {});
      address.set(socketUrl(path));
      await navigator.clipboard?.writeText(address.peek());
      app.say("Address for Foxglove copied");
    } catch (error) {
      if (!address.peek()) app.say(`No address for Foxglove: ${(error as Error).message}`, "error");
    }
  };
  const row = (label: string, value: Node | string | (() => string)) =>
    h("div", { class: "pair" }, h("dt", {}, label), h("dd", {}, value));
  const dialog = h(
    "dialog",
    { class: "card dialog", "aria-label": "Settings", onkeydown: (event) => {
      if ((event as KeyboardEvent).key === "Escape") dialog.close();
    } },
    h("header", { class: "card-head" }, h("h2", {}, "Settings"),
      h("button", { class: "icon-button", type: "button", "aria-label": "Close", onclick: () => dialog.close() }, "×")),
    h("dl", { class: "values" },
      row("Signed in as", `${user} (${role})`),
      row("Robot", () => `${app.robot().name} ${info()?.version ?? ""}`),
      row("Running for", () => duration(info()?.uptime_s)),
      row("Foxglove", h("button", {
        class: "button small", type: "button", "data-testid": "foxglove", onclick: () => void foxglove(),
        title: "Opens this robot in the Foxglove app; good for ten minutes",
      }, "Copy address"))),
    h("input", {
      readonly: "", value: address, hidden: () => !address(), "aria-label": "Address for Foxglove",
      "data-testid": "foxglove-url", onfocus: (event) => (event.target as HTMLInputElement).select(),
    }),
    h("label", {}, h("span", {}, "Appearance"), h("select", {
      value: settings.theme, "data-testid": "theme",
      onchange: (event) => settings.theme.set((event.target as HTMLSelectElement).value as Theme),
    }, THEMES.map((name) => h("option", { value: name, selected: name === settings.theme.peek() },
      { auto: "As the system", light: "Light", dark: "Dark" }[name])))),
    h("label", {}, h("span", {}, "Video"), h("select", {
      value: settings.video, "data-testid": "video-path",
      onchange: (event) => settings.video.set((event.target as HTMLSelectElement).value as VideoPath),
    }, VIDEO_PATHS.map((name) => h("option", { value: name, selected: name === settings.video.peek() },
      { auto: "JPEG, or H.264 on a slow link", jpeg: "JPEG", h264: "H.264 (WebRTC)" }[name])))),
    h("label", {}, h("span", {}, "Refuse to drive above a round trip of (ms)"), h("input", {
      type: "number", min: "50", max: "2000", step: "50", value: settings.maxRttMs, "data-testid": "max-rtt",
      onchange: (event) => {
        const value = Number((event.target as HTMLInputElement).value);
        if (value >= 50 && value <= 2000) settings.maxRttMs.set(value);
      },
    })),
    h("p", { class: "muted" },
      "Keys: W A S D or arrows drive, Space stops. Gamepad: hold a shoulder button to drive, B stops."),
    h("button", { class: "button wide", type: "button", "data-testid": "logout", onclick: () => void logout() }, "Sign out"),
  );
  return dialog;
}
