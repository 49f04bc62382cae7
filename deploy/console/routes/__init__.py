"""What the console shows, one subject a file: `router`, and its name in deploy/console/app.py. Each blocks, in a thread of its own."""
