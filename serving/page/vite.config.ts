import preact from "@preact/preset-vite";
import { defineConfig } from "vite";

// Fixed names, so that a build of the same sources is the same files; what stands in static/ is committed (README.md beside this).
export default defineConfig({
  base: "/static/",
  plugins: [preact()],
  build: {
    outDir: "../static",
    emptyOutDir: true,
    assetsDir: "",
    modulePreload: false,
    cssCodeSplit: false,
    target: "es2022",
    rollupOptions: { output: { entryFileNames: "page.js", chunkFileNames: "[name].js", assetFileNames: "page.[ext]" } },
  },
});
