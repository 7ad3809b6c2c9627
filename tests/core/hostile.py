"""Over two hundred hostile texts a user, a file or a box may hand us."""

from __future__ import annotations

_QUOTES = ["'", '"', "`", "''", '"""', "'; rm -rf ~; '", '"; id; "', "`id`", "$(id)", "${HOME}"]
_OPTIONS = [
    "-oProxyCommand=touch /tmp/pwned",
    "-o ProxyCommand=id",
    "--",
    "-",
    "-F/dev/null",
    "--rsh=id",
    "-e id",
    "--help",
    "-R 1:h:2",
    "-l root",
]
_PATHS = [
    "../",
    "..",
    "../../etc/passwd",
    "a/../../b",
    "/..",
    "./..",
    "..\\..",
    "~root/.ssh",
    "~/../x",
    "a/..",
    "/../../root",
    "%2e%2e/",
    "host:path",
    "user@host:/etc",
    "rsync://h/x",
    "a:b",
    "",
    " ",
    ".",
    "...",
    "\\",
    "//",
    "/",
    "a//../b",
]
_CONTROL = [f"a{chr(code)}b" for code in range(32)] + [f"a{chr(code)}b" for code in range(127, 160)]
_ENDS = ["name\n", "\nname", "name\r\n", "name\0", "\0", "name\t", " name", "name ", "na me"]
_SHELL = [f"a{mark}b" for mark in "!#$%&()*+,;<=>?@[]^{|}~"]
_UNICODE = [
    "ünïcode",
    "名前",
    "имя",
    "نام",
    "é",
    "e\u0301",
    "ａｂｃ",
    "a\u200bb",
    "a\u202eb",
    "\ufeffname",
    "😀",
    "a\u2028b",
    "İ",
    "ß",
    "ﬁ",
    "Ⅷ",
    "a\u00a0b",
    "\ud800",
    "a\udcffb",
    "\U000e0041",
]
_LONG = ["a" * 10_000, "-" * 10_000, "名" * 10_000, "a/" * 5_000, "'" * 10_000, "\n" * 10_000]
_ESCAPES = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x1b]52;c;aWQ=\x07",
    "\x9b31m",
    "\x1bP1$r\x1b\\",
    "[bold]x[/bold]",
]
_CONFIG = [
    "x\nHost *\n ProxyCommand id",
    "x\n[boxes.y]",
    "x #",
    "# x",
    "Host *",
    "Match exec id",
    "%h",
    "%%",
    "${x}",
    "Include /etc/passwd",
    "*",
    "?",
    "!x",
    "x,y",
    "x;y",
    "NUL",
    "con",
    "nul.txt",
]
_NUMBERS = ["0", "-1", "1e9", "0x10", "٣", "1_0", "+1", "65536", "99999999999", "1.5", "NaN", "inf"]
_CASE = ["UPPER", "Camel", "_x", "x_y", "x.y", "9x", "x-", "-x", "a" * 41]

ALL = (
    _QUOTES
    + _OPTIONS
    + _PATHS
    + _CONTROL
    + _ENDS
    + _SHELL
    + _UNICODE
    + _LONG
    + _ESCAPES
    + _CONFIG
    + _NUMBERS
    + _CASE
)
assert len(ALL) >= 200
