# Sourced by every script: where things are, and the few functions that they share.
# shellcheck shell=bash
set -euo pipefail

ROTA_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$ROTA_ROOT"

# The folder of tools and real servers, shared by every checkout of this machine. PostgreSQL refuses
# to run as root, and `nobody`, whom root's servers run as, cannot enter root's home: so root's tools
# live below /var/cache. rota-testbed (tests/testbed/src/tools.rs) has the same defaults.
if [[ -z ${ROTA_TOOLS_DIR:-} ]]; then
    if [[ $EUID -eq 0 ]]; then
        ROTA_TOOLS_DIR=/var/cache/rota/tools
    else
        ROTA_TOOLS_DIR=${XDG_CACHE_HOME:-$HOME/.cache}/rota/tools
    fi
fi
# One target folder for every checkout too: a dependency is compiled once a machine.
CARGO_TARGET_DIR=${ROTA_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/rota/target}
export ROTA_ROOT ROTA_TOOLS_DIR CARGO_TARGET_DIR
export PATH="$ROTA_TOOLS_DIR/bin:$PATH"
# A rustup whose cargo is not on the PATH yet (a fresh install in the same shell).
if ! command -v cargo >/dev/null && [[ -x $HOME/.cargo/bin/cargo ]]; then
    export PATH="$HOME/.cargo/bin:$PATH"
fi

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
    warn "error: $*"
    exit 1
}

# Features of a dependency depend on what is built together, so `cargo build -p rota` after
# `cargo test --workspace` would build half of the tree again. With this, one crate is built with the
# features that the workspace as a whole asks for. Stable cargo knows the setting but keeps it back,
# hence the override, which concerns cargo only and not what rustc accepts. Where a cargo no longer
# takes it, the build is the same, only slower.
unify_features() {
    local env=(__CARGO_TEST_CHANNEL_OVERRIDE_DO_NOT_USE_THIS=nightly
        CARGO_UNSTABLE_FEATURE_UNIFICATION=true CARGO_RESOLVER_FEATURE_UNIFICATION=workspace)
    if env "${env[@]}" cargo locate-project >/dev/null 2>&1; then
        export "${env[@]}"
    fi
}

# Makes the shared target folder this checkout's until the script ends.
#
# Cargo names a workspace crate's artefacts by its path *within* the workspace and decides by the
# files' times whether they are fresh. With one target folder for several checkouts, what another
# checkout built would therefore be taken for ours where its files happen to be newer: the wrong
# sources, with the wrong CARGO_MANIFEST_DIR in them. So when another checkout used the folder last,
# the fingerprints of the workspace's crates (rota* and the plugins) go, and only they are built again.
# A shared lock, held on descriptor 8, keeps another checkout from doing so under a running test.
claim_target() {
    local stamp=$CARGO_TARGET_DIR/.rota-checkout
    mkdir -p "$CARGO_TARGET_DIR"
    exec 8>>"$CARGO_TARGET_DIR/.rota-lock"
    while true; do
        lock 8 --shared "the target folder $CARGO_TARGET_DIR"
        if [[ -f $stamp && $(<"$stamp") == "$ROTA_ROOT" ]]; then
            return
        fi
        lock 8 --exclusive "the target folder $CARGO_TARGET_DIR"
        if [[ ! -f $stamp || $(<"$stamp") != "$ROTA_ROOT" ]]; then
            [[ ! -f $stamp ]] || say "target folder: last used by $(<"$stamp"); building the workspace's own crates again"
            # At several depths: plugins are built in a target folder of their own in this one.
            local names=(-name 'rota*') plugin
            for plugin in "$ROTA_ROOT"/plugins/*/; do
                names+=(-o -name "$(basename "$plugin")-*")
            done
            find "$CARGO_TARGET_DIR" -maxdepth 6 -path '*/.fingerprint/*' \( "${names[@]}" \) -prune -exec rm -rf {} +
            printf '%s\n' "$ROTA_ROOT" >"$stamp"
        fi
    done
}

# lock DESCRIPTOR MODE WHAT: waits, and says so when there is something to wait for.
lock() {
    if ! flock --nonblock "$2" "$1"; then
        say "waiting for another checkout that is using $3"
        flock "$2" "$1"
    fi
}
