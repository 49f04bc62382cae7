#!/bin/sh
# Turns the secrets named OO_* into environment variables of this one process, where `docker inspect` does not show
# them, and becomes the command.
set -eu
for file in /run/secrets/OO_*; do
    [ -f "$file" ] || continue
    export "$(basename "$file")=$(cat "$file")"
done
exec "$@"
