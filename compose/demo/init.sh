#!/bin/sh
# Makes the kits that are missing; what is there stays. Run again with a longer federation.toml, it
# adds the new sites; what else is said goes to `tasuki provision`:
#
#     docker compose run --rm init --revoke site-4
set -eu

tasuki provision /demo/federation.toml --out /kits --owner 10001 "$@"
# The demo submits as the operator does.
chown -R 10001:10001 /kits/operator

for settings in /kits/*/site.toml; do
    # What a site's owner does by hand: name the trainers that this machine has, and its data.
    grep -q '^\[trainers\.' "$settings" || cat /demo/trainers.toml >> "$settings"
done
