#!/usr/bin/env bash
# Installs the named Debian or Ubuntu packages and starts no server by it. Run as root by ./dev.
#
# A server's package starts that server and has it start at every boot. Nobody asked for that: ./dev runs its own, as
# the user who called it, on its own ports. So, for the packages that are new on this machine:
#   - policy-rc.d, the distribution's own switch, forbids starting anything while we install (if there is no such file);
#   - PostgreSQL is told to make no cluster of its own (if it is not installed yet);
#   - units that came with them are disabled.
# What the machine already runs is not touched, and both files are gone afterwards.
set -euo pipefail

policy=/usr/sbin/policy-rc.d
no_cluster=/etc/postgresql-common/createcluster.d/orderflow.conf

installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

made=()
tidy_up() { if ((${#made[@]} > 0)); then rm -f "${made[@]}"; fi; }
trap tidy_up EXIT
trap 'exit 130' INT TERM HUP

if [[ ! -e $policy ]]; then
    made+=("$policy")
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
if ! installed postgresql-common; then
    made+=("$no_cluster")
    mkdir -p "$(dirname "$no_cluster")"
    echo "create_main_cluster = false" >"$no_cluster"
fi

new_units=()
for unit in postgresql redis-server prometheus prometheus-node-exporter; do
    if ! installed "$unit"; then new_units+=("$unit.service"); fi
done

export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=300 update

# Kafka needs Java 17. On a release whose default is older, the newer one has a package of its own.
packages=("$@")
default_java=$(apt-cache depends default-jre-headless | sed -n 's/.*Depends: openjdk-\([0-9]*\)-jre-headless.*/\1/p')
if ((${default_java:-17} < 17)); then packages=("${packages[@]/default-jre-headless/openjdk-17-jre-headless}"); fi

apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${packages[@]}"

if command -v systemctl >/dev/null; then
    for unit in "${new_units[@]}"; do
        if systemctl list-unit-files "$unit" 2>/dev/null | grep -q "^$unit"; then systemctl disable "$unit" || true; fi
    done
fi
