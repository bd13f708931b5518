#!/bin/sh
# Runs a command with the passwords that users.xml takes from the environment, from files: an
# account's is in /etc/convoview/secrets/clickhouse, or in the directory SECRETS.
set -eu
for role in projector query operator analyst; do
	password=$(cat "${SECRETS:-/etc/convoview/secrets/clickhouse}/$role")
	export "CLICKHOUSE_$(echo "$role" | tr '[:lower:]' '[:upper:]')_PASSWORD=$password"
done
exec "$@"
