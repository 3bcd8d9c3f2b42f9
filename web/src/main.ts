/** Entry: a session opens the dashboard, none asks for a login. */

import "./styles/base.css";
import "./styles/layout.css";
import "./styles/widgets.css";
import { api, ApiError, type Session } from "./connection/api";
import { App } from "./state/app";
import { settings } from "./state/settings";
import { scope, watch } from "./state/signals";
import { loginView } from "./views/login";
import { shell } from "./views/shell";
import { h } from "./widgets/dom";

const root = document.querySelector("#app") as HTMLElement;
const RETRY_MS = 1500;
let end = () => {};

function show(build: () => Node): void {
  end();
  let node: Node;
  [node, end] = scope(build);
  root.replaceChildren(node);
}

async function start(note = ""): Promise<void> {
  let session: Session;
  try {
    session = await api<Session>("/api/v1/session");
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      show(() => loginView(() => void start(), note));
      return;
    }
    show(() => h("main", { class: "login" }, h("p", { role: "status" }, "The gateway does not answer. Trying again.")));
    setTimeout(() => void start(note), RETRY_MS);
    return;
  }
  const app = new App(session, () => {
    app.close();
    void start("Your login has ended. Sign in again.");
  });
  show(() => shell(app, () => location.reload()));
  performance.mark("dialtone-interactive");
}

watch(() => {
  document.documentElement.dataset["theme"] = settings.theme();
});
void start();
if ("serviceWorker" in navigator && import.meta.env.PROD) {
  void navigator.serviceWorker.register("/sw.js").catch(() => {});
}
