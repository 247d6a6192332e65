#!/bin/sh
# Makes a Debian machine a member of a lictor cluster: the program, its configuration and a systemd unit.
#
#   provision.sh --role server|client --node NAME --bind ADDRESS --join ADDR[,ADDR...]
#                [--expect N] [--datacenter DC] [--source DIR] [--root DIR] [--no-install]
#
# --source  the project's tree (default: the folder above this script)
# --root    write below DIR instead of / and start nothing (packaging, tests)
# --no-install  leave Python and the program alone, write only configuration and unit
set -eu

role='' node='' bind='' join='' expect=3 datacenter=dc1 root='' install=yes
source=$(cd "$(dirname "$0")/.." && pwd)

fail() { echo "provision.sh: $*" >&2; exit 2; }

while [ $# -gt 0 ]; do
    case "$1" in
    --no-install) install=no; shift; continue ;;
    --role | --node | --bind | --join | --expect | --datacenter | --source | --root) ;;
    *) fail "unknown option $1" ;;
    esac
    [ $# -ge 2 ] || fail "$1 needs a value"
    case "$1" in
    --role) role=$2 ;; --node) node=$2 ;; --bind) bind=$2 ;; --join) join=$2 ;;
    --expect) expect=$2 ;; --datacenter) datacenter=$2 ;; --source) source=$2 ;; --root) root=$2 ;;
    esac
    shift 2
done

case "$role" in server | client) ;; *) fail "--role must be server or client" ;; esac
# What goes into the configuration is checked here, so that no quote or blank can change its meaning.
for pair in "node:$node" "bind:$bind" "join:$join" "expect:$expect" "datacenter:$datacenter"; do
    value=${pair#*:}
    [ -n "$value" ] || fail "--${pair%%:*} is missing"
    case "$value" in *[!A-Za-z0-9.:,_-]*) fail "--${pair%%:*}: unexpected character in '$value'" ;; esac
done
case "$expect" in *[!0-9]*) fail "--expect must be a number" ;; esac

if [ "$install" = yes ]; then
    if [ -z "$root" ]; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends python3 python3-venv >/dev/null
        id lictor >/dev/null 2>&1 || useradd --system --home-dir /var/lib/lictor --shell /usr/sbin/nologin lictor
    fi
    mkdir -p "$root/opt/lictor"
    for part in agent server connect_proxy ui kv mesh gossip rpc model pyproject.toml README.md LICENSE requirements.lock; do
        cp -R "$source/$part" "$root/opt/lictor/"
    done
    python3 -m venv "$root/opt/lictor/.venv"
    "$root/opt/lictor/.venv/bin/python" -m pip install --quiet --require-hashes -r "$root/opt/lictor/requirements.lock"
    "$root/opt/lictor/.venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable "$root/opt/lictor"
    mkdir -p "$root/usr/local/bin"
    ln -sf /opt/lictor/.venv/bin/lictor "$root/usr/local/bin/lictor"
fi

mkdir -p "$root/etc/lictor.d" "$root/etc/systemd/system" "$root/var/lib/lictor"
chmod 0750 "$root/var/lib/lictor"

quoted_join=$(printf '"%s"' "$join" | sed 's/,/", "/g')
{
    echo "# Written by provision.sh; your own files beside it are read after it."
    echo "node_name  = \"$node\""
    echo "datacenter = \"$datacenter\""
    echo "data_dir   = \"/var/lib/lictor\""
    echo "bind_addr  = \"$bind\""
    echo "retry_join = [$quoted_join]"
    echo "ui_config {"
    echo "  enabled = true"
    echo "}"
    if [ "$role" = server ]; then
        echo "server           = true"
        echo "bootstrap_expect = $expect"
    fi
} > "$root/etc/lictor.d/00-lictor.hcl"

cat > "$root/etc/systemd/system/lictor.service" <<'UNIT'
[Unit]
Description=lictor, service discovery and mesh
Wants=network-online.target
After=network-online.target

[Service]
User=lictor
ExecStart=/opt/lictor/.venv/bin/lictor agent -config-dir=/etc/lictor.d
ExecReload=/bin/kill -HUP $MAINPID
KillSignal=SIGTERM
Restart=on-failure
RestartSec=2
LimitNOFILE=65536
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ReadWritePaths=/var/lib/lictor

[Install]
WantedBy=multi-user.target
UNIT

if [ -z "$root" ]; then
    chown lictor: /var/lib/lictor
    systemctl daemon-reload
    systemctl enable --quiet lictor
    systemctl restart lictor
fi
echo "provisioned $role $node"
