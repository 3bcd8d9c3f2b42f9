import { defineConfig } from "vitest/config";

const gateway = process.env.DIALTONE_GATEWAY ?? "http://127.0.0.1:8080";
const behind = { target: gateway, changeOrigin: true, ws: true };

/** Everything that is not the page itself comes from the gateway, so that one origin serves all. */
export default defineConfig({
  base: "/",
  build: {
    target: "es2022",
    // A data: address would need a hole in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
  },
  server: {
    host: "127.0.0.1",
    port: 5173,
    proxy: {
      "/api": behind,
      "/login": behind,
      "/logout": behind,
      "/nats": behind,
      "/ws": behind,
      "/stream": behind,
      "/snapshot": behind,
      "/healthz": behind,
    },
  },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
