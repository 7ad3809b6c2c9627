"""A box guards itself from its own first second, before anybody logs in, and restarts its agent.

The main process of a box runs `GUARD` beside its sshd, as the login user. Where the box half and
Python are there, the orders of the box's creation are followed at once. Where one is missing, a
box that nobody arms in time ends itself: nobody can have used it through devbox. Once it is armed,
an agent that ended is started again.
"""

from __future__ import annotations

import math
import shlex

import msgspec

from devbox import spec
from devbox.providers.base import Request
from devbox.wire.codec import encode
from devbox.wire.messages import PauseRecipe, Policy, WatchdogConfig

#: seconds that a box without the box half has at least to be armed: a login may wait five minutes
LEAST = 900.0

# $1 file with the first orders, '' for none  $2 file of the box half to use, '' for the one that is
# there  $3 seconds until an unarmed box ends, 0 for never  $4 the file that arming leaves, with the
# box half's folder in it  further: the command that pauses or ends the box
GUARD = r"""
orders=$1 half=$2 left=$3 mark=$4
shift 4
root=${DEVBOX_BOX_ROOT:-$HOME/.devbox-box} began=$(date +%s) armed=
rm -f "$mark"
cd "$HOME"

uptime() { read -r up rest </proc/uptime && echo "${up%.*}"; }
end=$(($(uptime) + left))

install() (
    [ -n "$half" ] || exit 0
    umask 077
    name=${half##*/}
    mkdir -p "$root" && cd "$root" || exit
    [ -f "$name" ] || { cp "$half" ".$name.$$" && mv -f ".$name.$$" "$name"; } || exit
    [ "$(readlink devbox-box.pyz)" = "$name" ] || \
        { ln -s "$name" ".l.$$" && mv -f ".l.$$" devbox-box.pyz; }
)
first_orders() {
    [ -n "$orders" ] && command -v python3 >/dev/null 2>&1 && install &&
        python3 "$root/devbox-box.pyz" guard "$orders" "$began" "$mark"
}
# agent.json names the agent: {"pid":N,...}
lives() {
    said=
    read -r said 2>/dev/null <"$root/agent.json"
    said=${said#*'"pid":'}
    said=${said%%[!0-9]*}
    [ -n "$said" ] || return 1
    case $(tr '\0' ' ' 2>/dev/null <"/proc/$said/cmdline") in *' agent '*) return 0 ;; esac
    return 1
}

if first_orders; then
    armed=1
elif [ "$left" != 0 ]; then
    echo "devbox: not armed yet; this box ends itself in $left s unless that is done" >&2
fi
while :; do
    [ ! -s "$mark" ] || { root=$(cat "$mark") armed=1; }
    if [ -n "$armed" ]; then
        left=0
        if lives; then
            :
        elif [ -e "$root/config.json" ] && [ -e "$root/devbox-box.pyz" ]; then
            DEVBOX_BOX_ROOT=$root \
                python3 "$root/devbox-box.pyz" agent </dev/null >>"$root/agent.log" 2>&1
        else
            first_orders
        fi
    elif [ "$left" != 0 ] && [ "$(uptime)" -ge "$end" ]; then
        echo 'devbox: nobody armed this box; ending it' >&2
        "$@"
    fi
    sleep 5 >/dev/null 2>&1
done
"""


def first_orders(request: Request, recipe: PauseRecipe) -> bytes:
    """The orders a box is made with; see `guard` of box/watchdog/arm. Its provider keeps its
    disk when it pauses or ends itself."""
    wanted = request.spec
    return encode(
        WatchdogConfig(
            box=request.name,
            policy=policy_of(wanted.idle),
            deadline=None,
            max_uptime=wanted.max_uptime,
            pause=recipe,
            workdir=wanted.workdir,
            volumes=tuple(v.mount for v in wanted.volumes.values() if not v.read_only),
            token=request.token,
        )
    )


def command(request: Request, recipe: PauseRecipe, *, orders: str = "", half: str = "") -> str:
    """`GUARD` with its words as one line of sh, to be run in the background. recipe: how the box
    pauses or ends itself, with the file "armed" that arming leaves."""
    words = [orders, half, str(unarmed(request.spec)), recipe.armed, *recipe.argv]
    return f"sh -c {shlex.quote(GUARD)} devbox-guard {shlex.join(words)}"


def unarmed(wanted: spec.BoxSpec) -> int:
    """Seconds after which a box that was never armed ends; 0 for never (no idle pause)."""
    return math.ceil(max(LEAST, wanted.idle.after)) if wanted.idle.enabled else 0


def policy_of(wanted: spec.Idle) -> Policy:
    """A spec's idle table as the box half's policy: seconds, per cent, bytes a minute."""
    fields = msgspec.structs.asdict(wanted)
    return Policy(stuck_after=fields.pop("idle_vram_after"), **fields)
