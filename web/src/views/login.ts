/** The way in. */

import { api, ApiError } from "../connection/api";
import { signal } from "../state/signals";
import { h } from "../widgets/dom";

export function loginView(onDone: () => void, note = ""): HTMLElement {
  const problem = signal(note);
  const busy = signal(false);
  const user = h("input", {
    id: "user", name: "username", autocomplete: "username", autocapitalize: "none",
    spellcheck: "false", required: true, "data-testid": "user",
  });
  const password = h("input", {
    id: "password", name: "password", type: "password", autocomplete: "current-password",
    required: true, "data-testid": "password",
  });
  const submit = async (event: Event) => {
    event.preventDefault();
    busy.set(true);
    try {
      await api("/login", { uuid: user.value.trim(), password: password.value });
      onDone();
    } catch (error) {
      problem.set(explain(error));
      password.value = "";
      password.focus();
    } finally {
      busy.set(false);
    }
  };
  queueMicrotask(() => user.focus());
  return h(
    "main",
    { class: "login" },
    h(
      "form",
      { class: "card", onsubmit: (event) => void submit(event) },
      h("h1", { class: "brand" }, h("img", { src: "/icon.svg", alt: "", width: "28", height: "28" }), "Dialtone"),
      h("label", { for: "user" }, "User"),
      user,
      h("label", { for: "password" }, "Password"),
      password,
      h("p", { class: "problem", role: "alert", hidden: () => !problem() }, problem),
      h(
        "button",
        { class: "button primary wide", type: "submit", disabled: busy, "data-testid": "login" },
        () => (busy() ? "Signing in…" : "Sign in"),
      ),
    ),
  );
}

function explain(error: unknown): string {
  if (!(error instanceof ApiError)) return String(error);
  if (error.status === 401) return "User or password is wrong";
  if (error.status === 429) return "Too many attempts. Wait a minute, then try again";
  return error.message;
}
