#!/bin/sh
# Draws the passwords of one machine (compose.yaml) into the directory secrets beside this
# script. Those that are there stay.
set -eu
secrets=$(dirname "$0")/secrets
mkdir -p "$secrets"
chmod 700 "$secrets" # files are readable, as the users in the containers are others
for name in clickhouse-projector clickhouse-query clickhouse-operator clickhouse-analyst grafana-admin; do
	[ -s "$secrets/$name" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$secrets/$name"
	chmod 444 "$secrets/$name"
done
