"""Notices of this box, posted with your computer off: `about` says what they are about, `outbox`
keeps them until they are delivered, `post` signs and posts them, `courier` sees that this is done.

They are at-least-once: a receiver that took one and whose answer was lost gets it again under the
same id."""
