import preact from "@preact/preset-vite";
import { defineConfig } from "vite";

// Fixed names, so that a build of the same sources is the same files; what stands in static/ is committed (README.md beside this).
export default defineConfig({
  base: "/console/static/",
  plugins: [preact()],
  build: {
    outDir: "../static",
    emptyOutDir: true,
    assetsDir: "",
    modulePreload: false,
    rollupOptions: { output: { entryFileNames: "console.js", assetFileNames: "console.[ext]" } },
  },
});
