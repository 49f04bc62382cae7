import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import preact from "@preact/preset-vite";
import { defineConfig } from "vite";

// A name says what is in it, so that a page that stands open never gets another build's part; what stands in static/ is committed
// (README.md beside this). The worker comes after the page: it names the page's files.

const STATIC = new URL("../static/", import.meta.url);
const KEPT = /\.(js|css|svg|webmanifest)$|latin\.woff2$/;

function ofTheWorker() {
  const names = readdirSync(STATIC).filter((name) => KEPT.test(name) && name !== "sw.js").sort();
  const build = createHash("sha256");
  for (const name of ["index.html", ...names]) build.update(name).update(readFileSync(new URL(name, STATIC)));
  return {
    define: { BUILD: JSON.stringify(build.digest("hex").slice(0, 12)), FILES: JSON.stringify(names.map((name) => `/static/${name}`)) },
    publicDir: false as const,
    build: {
      outDir: "../static",
      emptyOutDir: false,
      modulePreload: false as const,
      target: "es2022",
      rollupOptions: { input: "src/worker/sw.ts", output: { format: "iife" as const, entryFileNames: "sw.js" } },
    },
  };
}

export default defineConfig(({ mode }) => mode === "worker" ? ofTheWorker() : {
  base: "/static/",
  plugins: [preact()],
  build: {
    outDir: "../static",
    emptyOutDir: true,
    assetsDir: "",
    modulePreload: false,
    cssCodeSplit: false,
    target: "es2022",
    rollupOptions: { output: { entryFileNames: "page.[hash].js", chunkFileNames: "[name].[hash].js", assetFileNames: "page.[hash].[ext]" } },
  },
});
