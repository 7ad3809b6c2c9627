"""What runs in a container: an sshd with the host key we pinned, and an end that always comes.

Its main process is this script, as root: nothing inside can kill it, so the box ends at
max_uptime whatever happens to the watchdog, and each start of the container counts again. What is
private comes as files put into the stopped container, in no image layer and no setting that
`docker inspect` shows. /.devbox is of the container, so that it outlives a pause; /run/devbox is
memory: the user's secrets are moved there when it starts, and are gone when it stops.
"""

from __future__ import annotations

import hashlib
import io
import shlex
import tarfile
from collections.abc import Sequence

from devbox.providers import guarded
from devbox.providers.base import Request
from devbox.remote import agent_bootstrap
from devbox.wire.messages import PauseRecipe

PLACE, MEMORY = "/.devbox", "/run/devbox"
#: seconds that programs get to save when the box ends
LEAVE = 8
#: exit codes of the script
ASKED, CEILING, UNUSABLE = 0, 75, 78

SSHD = f"""\
Port 22
HostKey {PLACE}/host_key
PidFile none
AuthorizedKeysFile {PLACE}/keys
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
X11Forwarding no
AllowTcpForwarding yes
ClientAliveInterval 30
ClientAliveCountMax 6
MaxSessions 200
MaxStartups 100
AcceptEnv LANG LC_*
ForceCommand {PLACE}/session
"""

# Every session goes through it, whatever the login shell. /etc/profile sets PATH again, which would
# hide the image's own programs, so that it is set again after it.
SESSION = f"""\
#!/bin/sh
asked=$SSH_ORIGINAL_COMMAND
unset SSH_ORIGINAL_COMMAND
. {MEMORY}/env.sh
export DEVBOX_PATH="$PATH"
[ -n "$asked" ] && exec "$SHELL" -c "$asked"
exec "$SHELL" -l
"""

# $1 seconds to live  $2 login  $3 its home  $4 workdir  further: volumes to hand to the login
SCRIPT = f"""\
asked=
trap 'asked=1' TERM INT HUP
umask 022
read -r up rest </proc/uptime
end=$((${{up%.*}} + $1)) user=$2 home=$3 work=$4
shift 4

fail() {{ echo "devbox: $1" >&2; exit {UNUSABLE}; }}
sshd=$(command -v sshd || echo /usr/sbin/sshd)
[ -x "$sshd" ] || fail 'the image has no sshd: use an image of devbox, or install openssh-server'
cd {PLACE} && [ -s host_key ] || fail 'its host key is missing: start it with devbox, not docker'

mkdir -p {MEMORY}/ask /run/sshd /etc/profile.d
rm -f {MEMORY}/ask/stop
chmod 711 {MEMORY} && chown "$user" {MEMORY}/ask || fail "the image has no user $user"
(
    umask 077
    unset HOME PWD OLDPWD SHLVL _ HOSTNAME USER LOGNAME SHELL TERM MAIL up rest end user home work
    export -p >{MEMORY}/env.sh
    [ ! -f given ] || cat given >>{MEMORY}/env.sh
)
rm -f given
chown "$user" {MEMORY}/env.sh
echo '[ -z "$DEVBOX_PATH" ] || PATH=$DEVBOX_PATH' >/etc/profile.d/zz-devbox.sh

hand_over() {{ [ -O "$1" ] && chown "$user" "$1"; }}
for each in "$@"; do
    [ -n "$(ls -A "$each" 2>/dev/null)" ] || hand_over "$each"
    up=${{each%/*}}
    while case $up in "$home"/*) ;; *) false ;; esac; do
        hand_over "$up"
        up=${{up%/*}}
    done
done
if [ ! -d "$work" ]; then
    mkdir -p "$work" && chown "$user" "$work"
fi
cat keys.d/*.pub >keys
[ ! -w /etc/shadow ] || sed -i "s/^$user:![^:]*:/$user:*:/" /etc/shadow
{{
    cat sshd_config
    echo "AllowUsers $user"
    for each in /usr/lib/openssh /usr/libexec/openssh /usr/lib/ssh /usr/libexec; do
        [ ! -x $each/sftp-server ] || echo "Subsystem sftp $each/sftp-server"
    done | head -n 1
}} >{MEMORY}/sshd_config
"$sshd" -t -f {MEMORY}/sshd_config || fail 'its sshd does not take our settings'

# As the login, with the environment of its sessions; see devbox.providers.guarded.
guard() {{
    set -- "$user" ". {MEMORY}/env.sh; export DEVBOX_PATH=\"\\$PATH\" HOME='$home'; . {PLACE}/guard"
    case $1 in
    root) exec sh -c "$2" ;;
    *) exec su -s /bin/sh -c "$2" "$1" ;;
    esac
}}
# Programs get a moment to save what they have; the kernel ends what is left with this process.
# SIGHUP is for those that ignore SIGTERM, interactive shells (proc(5): bit 14 of SigIgn): it would
# end a program that saves, and what that has started for it.
hang_up() {{
    for each in /proc/[2-9] /proc/[1-9][0-9]*; do
        while read -r key value; do
            case $key$value in SigIgn:*[4567cdefCDEF]???) kill -HUP "${{each#/proc/}}"; esac
        done <"$each/status"
    done 2>/dev/null
}}
leave() {{
    echo "devbox: $2" >&2
    code=$1 tries=0
    trap '' TERM HUP INT
    hang_up
    kill -TERM -1
    while [ $tries -lt {LEAVE * 10} ]; do
        set -- /proc/[0-9]*
        [ $# -le 1 ] && break
        sleep 0.1
        tries=$((tries + 1))
    done
    exit "$code"
}}
"$sshd" -D -e -f {MEMORY}/sshd_config &
server=$!
guard &
guard=$!
while :; do
    [ -z "$asked" ] && [ ! -e {MEMORY}/ask/stop ] || leave {ASKED} 'asked to stop'
    read -r up rest </proc/uptime
    [ "${{up%.*}}" -lt "$end" ] || leave {CEILING} 'its max_uptime is over'
    [ ! -e given ] || rm -f given
    kill -0 $server 2>/dev/null || {{ "$sshd" -D -e -f {MEMORY}/sshd_config & server=$!; }}
    kill -0 $guard 2>/dev/null || {{ guard & guard=$!; }}
    sleep 1 &
    wait $!
done
"""

# $1: a file's name  $2: an OpenSSH public key line
ADMIT = f"""\
cd {PLACE} && printf '%s\\n' "$2" >"keys.d/$1" && cat keys.d/*.pub >.keys && mv .keys keys
"""


def files(request: Request, host_key: str = "") -> bytes:
    """A tar archive to be put at / of a stopped container: the spec's env and the user's secrets,
    keys, and the box half with its first orders. host_key: empty to keep the one that is there."""
    environment = {**request.spec.env, **request.secrets}
    given = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in environment.items())
    half = agent_bootstrap.build()
    guard = guarded.command(
        request, stop(), orders=f"{PLACE}/orders.json", half=f"{PLACE}/half/{half.name}"
    )
    content: dict[str, tuple[int, bytes]] = {
        f"keys.d/{key_name(request.public_key)}": (
            0o644,
            f"{request.public_key.strip()}\n".encode(),
        ),
        "sshd_config": (0o644, SSHD.encode()),
        "session": (0o755, SESSION.encode()),
        "given": (0o600, given.encode()),
        "guard": (0o644, f"exec {guard}\n".encode()),
        "orders.json": (0o644, guarded.first_orders(request, stop())),
        f"half/{half.name}": (0o644, half.read_bytes()),
    }
    if host_key:
        content["host_key"] = (0o600, f"{host_key.strip()}\n".encode())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for folder in (PLACE, f"{PLACE}/keys.d", f"{PLACE}/half"):
            entry = tarfile.TarInfo(folder.lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, (mode, data) in content.items():
            entry = tarfile.TarInfo(f"{PLACE}/{name}".lstrip("/"))
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def admit(public_key: str) -> Sequence[str]:
    """Lets one more key log in, run as root in the container."""
    return ["/bin/sh", "-c", ADMIT, "sh", key_name(public_key), public_key.strip()]


def stop() -> PauseRecipe:
    """The watchdog's recipe: the main process sees the file and ends, and with it the container."""
    ask = f"{MEMORY}/ask"
    return PauseRecipe("exec", ("touch", f"{ask}/stop"), armed=f"{ask}/armed")


def key_name(public_key: str) -> str:
    return f"{hashlib.sha256(public_key.strip().encode()).hexdigest()[:16]}.pub"
