"""Programs that measure in whichever build runs them (bench.builds): they take from the product only what builds have in common."""
