"""The emulated account: who it is, what it may do, and the keys registered with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Token:
    """An access token. ``repos`` limits it to those repo ids (a fine-grained token); ``billing``:
    it has the right to read billing usage."""

    value: str
    repos: frozenset[str] | None = None
    write: bool = True
    billing: bool = True

    def may_read(self, repo_id: str) -> bool:
        return self.repos is None or repo_id in self.repos

    def may_write(self, repo_id: str) -> bool:
        return self.write and self.may_read(repo_id)


@dataclass
class Account:
    """One Hub account. Change the fields at any time; the next request sees it.

    ``pro`` allows Dev Mode and creating Docker Spaces; ``can_pay`` allows paid
    hardware and Jobs; ``ssh_keys`` are OpenSSH public key lines, ``None``
    admits any key.
    """

    name: str = "me"
    pro: bool = True
    can_pay: bool = True
    organizations: list[str] = field(default_factory=list)
    ssh_keys: list[str] | None = field(default_factory=list)
    user_id: str = "5e67bdd61009063689407479"
    _tokens: dict[str, Token] = field(default_factory=dict)

    def add_token(
        self,
        value: str,
        *,
        repos: list[str] | None = None,
        write: bool = True,
        billing: bool = True,
    ) -> Token:
        """Issue a token: for everything, or for ``repos`` only."""
        token = Token(value, None if repos is None else frozenset(repos), write, billing)
        self._tokens[value] = token
        return token

    def revoke_token(self, value: str) -> None:
        """Make a token invalid (401 from now on)."""
        self._tokens.pop(value, None)

    def token(self, value: str) -> Token | None:
        return self._tokens.get(value)

    def owns(self, namespace: str) -> bool:
        return namespace == self.name or namespace in self.organizations

    def whoami(self, token: Token) -> dict[str, Any]:
        """The ``/api/whoami-v2`` answer for a token."""
        access: dict[str, Any] = {
            "displayName": "emulated",
            "role": "write" if token.write else "read",
            "createdAt": "2026-01-01T00:00:00.000Z",
        }
        if token.repos is not None:
            access["role"] = "fineGrained"
            access["fineGrained"] = {
                "canReadGatedRepos": False,
                "global": [],
                "scoped": [
                    {
                        "entity": {"_id": repo, "type": "space", "name": repo},
                        "permissions": ["repo.content.read", "repo.write"],
                    }
                    for repo in sorted(token.repos)
                ],
            }
        return {
            "type": "user",
            "id": self.user_id,
            "name": self.name,
            "fullname": self.name.title(),
            "email": f"{self.name}@example.org",
            "emailVerified": True,
            "canPay": self.can_pay,
            "isPro": self.pro,
            "periodEnd": None,
            "orgs": [
                {"type": "org", "id": name, "name": name, "roleInOrg": "admin"}
                for name in self.organizations
            ],
            "auth": {"type": "access_token", "accessToken": access},
        }
