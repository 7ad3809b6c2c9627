"""What runs on an adopted host: shell scripts for any POSIX sh, pure text.

Our line in authorized_keys names a program of ours that starts every session made with our key:
it sets the box's environment and secrets, which then lie in one private file on the machine and
nowhere else, and goes to the login folder. Sessions with the user's own keys see none of it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

# Names the box in the environment of everything that is started in its sessions.
MARK = "DEVBOX_BOX_TOKEN"

_ENTER = """\
#!/bin/sh
export {mark}
{exports}cd || exit
shell=${{SHELL:-/bin/sh}}
case $SSH_ORIGINAL_COMMAND in
"") exec "$shell" -l ;;
internal-sftp* | *sftp-server*)
    for program in /usr/lib/openssh /usr/libexec/openssh /usr/lib/ssh /usr/libexec /usr/lib; do
        [ ! -x "$program/sftp-server" ] || exec "$program/sftp-server"
    done
    echo "no sftp-server was found on this machine" >&2
    exit 127 ;;
*) exec "$shell" -c "$SSH_ORIGINAL_COMMAND" ;;
esac
"""
# One at a time edits authorized_keys: in between, another's line could be written twice or lost.
# A turn that a killed script left is taken after ten seconds. Not every host has flock.
_TURN = """\
turn=$HOME/.devbox-box/turn tries=0
until mkdir -p ~/.devbox-box || exit; mkdir "$turn" 2>/dev/null || [ $tries -ge 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
trap 'rmdir "$turn" 2>/dev/null' EXIT
"""
_ADOPT = """\
set -eu
umask 077
mkdir -p ~/.ssh
{turn}printf '%s' {enter} > ~/.devbox-box/{file}
touch ~/.ssh/authorized_keys
file=$(readlink -f ~/.ssh/authorized_keys)
if ! grep -q {mark} "$file"; then
    [ -z "$(tail -c 1 "$file")" ] || echo >> "$file"
    printf '%s\\n' {line} >> "$file"
fi
cat /etc/ssh/ssh_host_*_key.pub 2>/dev/null || true
"""
_ADMIT = """\
set -eu
umask 077
{turn}[ -f ~/.devbox-box/{file} ] || exit 3
file=$(readlink -f ~/.ssh/authorized_keys)
cp -p "$file" "$file.devbox"
grep -v {mark} "$file" > "$file.devbox" || true
printf '%s\\n' {line} >> "$file.devbox"
mv -f "$file.devbox" "$file"
"""
# The agent is stopped only when it follows this box's orders and is what it says it is. Our folder
# may serve another box too, which another computer adopted.
_RELEASE = """\
set -u
cd || exit
if [ -f .devbox-box/devbox-box.pyz ]; then
    python3 .devbox-box/devbox-box.pyz end {mark} >&2 || echo left running
fi
if grep -qF {token} .devbox-box/config.json 2>/dev/null; then
    pid=$(sed -n 's/.*"pid": *\\([0-9][0-9]*\\).*/\\1/p' .devbox-box/agent.json 2>/dev/null)
    case $(ps -o args= -p "${{pid:-0}}" 2>/dev/null) in
    *devbox-box*agent*) kill "$pid" ;;
    esac
    rm -f .devbox-box/config.json .devbox-box/agent.json
fi
{turn}rm -f .devbox-box/{file}
file=$(readlink -f .ssh/authorized_keys)
if grep -q {line} "$file" 2>/dev/null; then
    cp -p "$file" "$file.devbox" || exit
    grep -v {line} "$file" > "$file.devbox"
    mv -f "$file.devbox" "$file" || exit
fi
rmdir "$turn" 2>/dev/null
trap - EXIT
cd .devbox-box 2>/dev/null || exit 0
for other in enter-*; do
    [ ! -e "$other" ] || exit 0
done
rm -rf devbox-box.pyz devbox-box-*.pyz devbox-box-*.d
rm -rf *.json *.jsonl *.lock agent.log history active queued holding serving waiting served
rm -rf inputs checkpoints packages environments setup streams outbox
rmdir runs 2>/dev/null || [ ! -d runs ] || echo kept runs
cd .. && rmdir .devbox-box 2>/dev/null
exit 0
"""


def adopt(token: str, public_key: str, environment: Mapping[str, str]) -> str:
    """Let our key in. Prints the host's public keys where they are readable. May run again.
    environment: names that are valid, with any values."""
    exports = "".join(f"export {key}={shlex.quote(v)}\n" for key, v in environment.items())
    return _ADOPT.format(
        turn=_TURN,
        enter=shlex.quote(_ENTER.format(mark=_mark(token), exports=exports)),
        file=_file(token),
        mark=_marked(token),
        line=shlex.quote(_line(token, public_key)),
    )


def admit(token: str, public_key: str) -> str:
    """Let this key of ours in, in place of the one before. Ends with 3 on a machine that was not
    adopted for this box. May run again."""
    return _ADMIT.format(
        turn=_TURN,
        file=_file(token),
        mark=_marked(token),
        line=shlex.quote(_line(token, public_key)),
    )


def release(token: str) -> str:
    """End what runs in the box's name and take back everything `adopt` and the box half put
    there. Prints "left running" when not all of it ended, and "kept runs" when results of runs
    are left. May run again."""
    return _RELEASE.format(
        turn=_TURN,
        token=shlex.quote(f'"{token}"'),
        mark=shlex.quote(_mark(token)),
        line=_marked(token),
        file=_file(token),
    )


def by_hand(token: str) -> str:
    """What takes our line out of a machine's authorized_keys, for a user to type there."""
    return f"sed -i {shlex.quote(f'/ {_label(token)}$/d')} ~/.ssh/authorized_keys"


def later(command: Sequence[str]) -> str:
    """Run a command detached: a machine that suspends takes this very connection down with it."""
    script = shlex.quote("sleep 1; exec " + shlex.join(command))
    return f"nohup sh -c {script} >/dev/null 2>&1 </dev/null &\n"


def _line(token: str, public_key: str) -> str:
    """Our line in authorized_keys."""
    enter = f'command="exec sh \\"$HOME/.devbox-box/{_file(token)}\\""'
    return f"{enter} {public_key.strip()} {_label(token)}"


def _mark(token: str) -> str:
    return f"{MARK}={token}"


def _label(token: str) -> str:
    """What our line in authorized_keys ends with."""
    return f"devbox:{token}"


def _marked(token: str) -> str:
    """A pattern for our line: a token holds nothing that means something in one."""
    return shlex.quote(f" {_label(token)}$")


def _file(token: str) -> str:
    return f"enter-{token}"


def missing(programs: Sequence[str]) -> str:
    """Prints those programs that are not there, one a line."""
    return f"for p in {shlex.join(programs)}; do command -v $p >/dev/null || echo $p; done"
