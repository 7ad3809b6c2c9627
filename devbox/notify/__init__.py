"""Notices from this computer: `settings` reads the [notify] table, for here and for boxes; `news`
makes notices of what the store learned; `channels` are the ways they leave; `deliver` sends them.

What a box can tell by itself it posts itself (devbox.box.notices), with this computer off. May
import the store, the spec and the box half's outbox; nothing of providers or lifecycle."""
