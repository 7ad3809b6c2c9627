"""What runs in a sandbox: sshd with the host key we pinned, a guard, and a way to end from inside.

Its image holds the box half (devbox.providers.modal.image); the orders it is made with come with
the other settings.

Secrets, the host key and the environment come as a Modal secret and are kept in /dev/shm, which is
memory: a snapshot of the file system holds none of them.
"""

from __future__ import annotations

import math

from devbox import names
from devbox.providers import guarded
from devbox.providers.base import Request
from devbox.wire.messages import PauseRecipe

PLACE = "/dev/shm/devbox"  # noqa: S108  why: memory of the box, made 0700 by root
TOO_LATE = 75  # exit code of a sandbox that got its machine after `latest`
HOST_KEY, LOGIN, WORKDIR = "DEVBOX_HOST_KEY", "DEVBOX_AUTHORIZED", "DEVBOX_WORKDIR"
ORDERS = "DEVBOX_ORDERS"
_PRIVATE = (HOST_KEY, LOGIN, WORKDIR, ORDERS)

_SSHD = f"""\
Port 22
HostKey {PLACE}/host_key
PidFile {PLACE}/sshd.pid
AuthorizedKeysFile .ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
X11Forwarding no
AllowTcpForwarding yes
ClientAliveInterval 30
ClientAliveCountMax 6
MaxSessions 200
MaxStartups 100
AcceptEnv LANG LC_*
SetEnv BASH_ENV={PLACE}/env.sh
Subsystem sftp internal-sftp
"""

# A bash that sshd starts for a command reads bash.bashrc, a login shell profile.d, others
# BASH_ENV; the guard variable keeps what a user has changed since.
# A sandbox that waited for its machine until nobody waits for it ends itself: $1 is how long.
_SCRIPT = f"""\
[ "$(date +%s 2>/dev/null || echo 0)" -le "$1" ] || exit {TOO_LATE}
umask 077
export HOME="${{HOME:-/root}}"
mkdir -p {PLACE} /run/sshd "$HOME/.ssh" && chmod 700 {PLACE} "$HOME/.ssh"
rm -f {PLACE}/stop {PLACE}/armed {PLACE}/sshd.pid
printf '%s\\n' "${HOST_KEY}" >{PLACE}/host_key
printf '%s' "${ORDERS}" >{PLACE}/orders.json
touch "$HOME/.ssh/authorized_keys"
grep -qxF "${LOGIN}" "$HOME/.ssh/authorized_keys" ||
    printf '%s\\n' "${LOGIN}" >>"$HOME/.ssh/authorized_keys"
(umask 022; mkdir -p "$HOME/${WORKDIR}")
cat >{PLACE}/sshd_config <<'END'
{_SSHD}END
(
    unset {" ".join(_PRIVATE)} PWD OLDPWD SHLVL _ HOSTNAME
    echo 'unset BASH_ENV; [ -n "${{DEVBOX_ENV-}}" ] && return 0; export DEVBOX_ENV=1'
    export -p
) >{PLACE}/env.sh
read='[ -r {PLACE}/env.sh ] && . {PLACE}/env.sh'
umask 022
mkdir -p /etc/profile.d && printf '%s\\n' "$read" >/etc/profile.d/devbox.sh
grep -qxF "$read" /etc/bash.bashrc 2>/dev/null || {{
    {{ printf '%s\\n' "$read"; cat /etc/bash.bashrc 2>/dev/null; }} >{PLACE}/bashrc
    cat {PLACE}/bashrc >/etc/bash.bashrc
}}
sed -i 's/^root:![^:]*:/root:*:/' /etc/shadow
unset {" ".join(_PRIVATE)} read
@GUARD@ &
while :; do
    /usr/sbin/sshd -D -e -f {PLACE}/sshd_config
    [ -e {PLACE}/stop ] && exit 0
    sleep 1
done
"""

_ADMIT = """\
umask 077
mkdir -p "$HOME/.ssh"
touch "$HOME/.ssh/authorized_keys"
grep -qxF "$1" "$HOME/.ssh/authorized_keys" || printf '%s\\n' "$1" >>"$HOME/.ssh/authorized_keys"
"""


def command(request: Request, latest: float) -> list[str]:
    """The sandbox's main process. latest: unix seconds after which it must not begin."""
    guard = guarded.command(request, stop(), orders=f"{PLACE}/orders.json")
    return ["/bin/sh", "-c", _SCRIPT.replace("@GUARD@", guard), "sh", str(math.ceil(latest))]


def environment(request: Request) -> dict[str, str]:
    """What the main process needs, the spec's env and the user's secrets, for one secret."""
    given = {**request.spec.env, **request.secrets}
    for key in given:
        names.env_name(key)
    return {
        **given,
        HOST_KEY: request.host_key.strip(),
        LOGIN: request.public_key.strip(),
        WORKDIR: names.inner_path(request.spec.workdir),
        ORDERS: guarded.first_orders(request, stop()).decode(),
    }


def admit(public_key: str) -> list[str]:
    """Lets one more key log in, run in the sandbox by Modal's exec."""
    return ["/bin/sh", "-c", _ADMIT, "sh", public_key.strip()]


def stop() -> PauseRecipe:
    """The watchdog's recipe: the main process ends, and with it the sandbox."""
    script = f'touch {PLACE}/stop && kill "$(cat {PLACE}/sshd.pid)"'
    return PauseRecipe("exec", ("/bin/sh", "-c", script), armed=f"{PLACE}/armed")
