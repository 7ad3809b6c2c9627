"""Control plane: workspace, environments, apps, secrets, volumes, mounts, tokens."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.emulators.modal.world import (
    App,
    MountedFile,
    Secret,
    Volume,
    World,
    digest,
    found,
    new_id,
)

BUILDER_VERSION = "2025.06"
ENVIRONMENT = "main"
TOKEN_LIFE = 3600
OVERWRITE = api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS
FAIL_IF_EXISTS = api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS
Metadata = Mapping[str, Any]


class Account:
    """What a workspace holds besides sandboxes and images."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def ClientHello(self, _request: Any, _metadata: Metadata) -> Any:
        return api_pb2.ClientHelloResponse(image_builder_version=BUILDER_VERSION)

    async def AuthTokenGet(self, _request: Any, _metadata: Metadata) -> Any:
        return api_pb2.AuthTokenGetResponse(token=unsigned_jwt("input-plane"))

    async def WorkspaceNameLookup(self, _request: Any, _metadata: Metadata) -> Any:
        return api_pb2.WorkspaceNameLookupResponse(
            workspace_name=self._world.workspace, username=self._world.workspace
        )

    async def EnvironmentGetOrCreate(self, request: Any, _metadata: Metadata) -> Any:
        name = request.deployment_name or ENVIRONMENT
        settings = api_pb2.EnvironmentSettings(image_builder_version=BUILDER_VERSION)
        metadata = api_pb2.EnvironmentMetadata(name=name, settings=settings)
        return api_pb2.EnvironmentGetOrCreateResponse(
            environment_id="en-" + digest(name.encode())[:22], metadata=metadata
        )

    async def EnvironmentList(self, _request: Any, _metadata: Metadata) -> Any:
        item = api_pb2.EnvironmentListItem(name=ENVIRONMENT, default=True)
        return api_pb2.EnvironmentListResponse(items=[item])

    async def AppGetOrCreate(self, request: Any, _metadata: Metadata) -> Any:
        environment = request.environment_name or ENVIRONMENT
        known = self._app_named(request.app_name, environment)
        if known is None:
            if not request.object_creation_type:
                raise GRPCError(Status.NOT_FOUND, f"App '{request.app_name}' not found")
            known = App(new_id("ap"), request.app_name, environment, self._world.clock.now())
            self._world.apps[known.id] = known
        handle = api_pb2.AppHandleMetadata(
            description=known.name, app_id=known.id, environment_name=known.environment
        )
        handle.lifecycle.app_state = api_pb2.APP_STATE_DEPLOYED
        handle.lifecycle.created_at = known.created_at
        return api_pb2.AppGetOrCreateResponse(app_id=known.id, handle_metadata=handle)

    async def AppList(self, request: Any, _metadata: Metadata) -> Any:
        reply = api_pb2.AppListResponse()
        for app in self._world.apps.values():
            if request.environment_name in ("", app.environment):
                state = api_pb2.APP_STATE_STOPPED if app.stopped else api_pb2.APP_STATE_DEPLOYED
                reply.apps.add(
                    app_id=app.id,
                    description=app.name,
                    name=app.name,
                    state=state,
                    created_at=app.created_at,
                )
        return reply

    async def AppStop(self, request: Any, _metadata: Metadata) -> Any:
        app = self._world.app(request.app_id)
        app.stopped = True
        for sandbox in self._world.sandboxes.values():
            if sandbox.app is app:
                sandbox.terminate()
        return Empty()

    async def AppSetTags(self, request: Any, _metadata: Metadata) -> Any:
        self._world.app(request.app_id).tags = dict(request.tags)
        return Empty()

    async def AppGetTags(self, request: Any, _metadata: Metadata) -> Any:
        return api_pb2.AppGetTagsResponse(tags=self._world.app(request.app_id).tags)

    async def SecretGetOrCreate(self, request: Any, _metadata: Metadata) -> Any:
        secret = self._named_secret(request) if request.deployment_name else self._loose(request)
        missing = [key for key in request.required_keys if key not in secret.values]
        if missing:
            raise GRPCError(Status.NOT_FOUND, f"Secret is missing key(s): {', '.join(missing)}")
        metadata = api_pb2.SecretMetadata(name=secret.name, keys=sorted(secret.values))
        return api_pb2.SecretGetOrCreateResponse(secret_id=secret.id, metadata=metadata)

    async def SecretDelete(self, request: Any, _metadata: Metadata) -> Any:
        found(self._world.secrets, request.secret_id, "Secret")
        del self._world.secrets[request.secret_id]
        return Empty()

    async def VolumeGetOrCreate(self, request: Any, _metadata: Metadata) -> Any:
        volumes = self._world.volumes
        volume = next((v for v in volumes.values() if v.name == request.deployment_name), None)
        if volume is None:
            if not request.object_creation_type:
                raise GRPCError(Status.NOT_FOUND, f"Volume '{request.deployment_name}' not found")
            volume = Volume(
                new_id("vo"),
                request.deployment_name,
                self._world.store.new_volume(),
                self._world.clock.now(),
            )
            volumes[volume.id] = volume
        version = request.version or api_pb2.VOLUME_FS_VERSION_V2
        metadata = api_pb2.VolumeMetadata(version=version, name=volume.name)
        metadata.creation_info.created_at = volume.created_at
        return api_pb2.VolumeGetOrCreateResponse(
            volume_id=volume.id, version=version, metadata=metadata
        )

    async def VolumeDelete(self, request: Any, _metadata: Metadata) -> Any:
        found(self._world.volumes, request.volume_id, "Volume")
        del self._world.volumes[request.volume_id]
        return Empty()

    async def MountBatchedCheckExistence(self, request: Any, _metadata: Metadata) -> Any:
        missing = [h for h in request.sha256_hex_hashes if h not in self._world.files]
        reply = api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)
        reply.checked_at.CopyFrom(self._timestamp())
        return reply

    async def MountPutFile(self, request: Any, _metadata: Metadata) -> Any:
        if request.data_blob_id:
            raise GRPCError(Status.UNIMPLEMENTED, "the emulator has no blob store (files >= 4 MiB)")
        if request.data or request.sha256_hex == digest_of_nothing():
            self._world.files[request.sha256_hex] = request.data
        return api_pb2.MountPutFileResponse(exists=request.sha256_hex in self._world.files)

    async def MountGetOrCreate(self, request: Any, _metadata: Metadata) -> Any:
        """Local files under an id made from their content; a named mount is Modal's own: empty."""
        files = {
            each.filename: MountedFile(
                found(self._world.files, each.sha256_hex, "File"), each.mode & 0o777 or 0o644
            )
            for each in request.files
        }
        parts = [f"{name} {file.mode}".encode() + file.content for name, file in files.items()]
        checksum = digest(request.deployment_name.encode(), *sorted(parts))
        mount_id = f"mo-{checksum[:22]}"
        self._world.mounts[mount_id] = files
        if request.deployment_name:
            self._world.modals_mounts.add(mount_id)
        handle = api_pb2.MountHandleMetadata(content_checksum_sha256_hex=checksum)
        return api_pb2.MountGetOrCreateResponse(mount_id=mount_id, handle_metadata=handle)

    def _app_named(self, name: str, environment: str) -> App | None:
        for app in self._world.apps.values():
            if (app.name, app.environment) == (name, environment) and not app.stopped:
                return app
        return None

    def _named_secret(self, request: Any) -> Secret:
        """Find or, with an ``object_creation_type``, make it."""
        secrets, name = self._world.secrets, request.deployment_name
        known = next((each for each in secrets.values() if each.name == name), None)
        if known is not None:
            if request.object_creation_type == FAIL_IF_EXISTS:
                raise GRPCError(Status.ALREADY_EXISTS, f"Secret '{name}' already exists")
            if request.object_creation_type == OVERWRITE:
                known.values = dict(request.env_dict)
            return known
        if not request.object_creation_type:
            raise GRPCError(Status.NOT_FOUND, f"Secret '{name}' not found")
        made = Secret(new_id("st"), name, dict(request.env_dict))
        return secrets.setdefault(made.id, made)

    def _loose(self, request: Any) -> Secret:
        """A secret without a name: the same content of the same app is the same secret."""
        pairs = [f"{k}={v}".encode() for k, v in sorted(request.env_dict.items())]
        secret_id = "st-" + digest(request.app_id.encode(), *pairs)[:22]
        values = dict(request.env_dict)
        return self._world.secrets.setdefault(secret_id, Secret(secret_id, "", values))

    def _timestamp(self) -> Any:
        stamp = Timestamp()
        stamp.FromNanoseconds(int(self._world.clock.now() * 1e9))
        return stamp


def unsigned_jwt(subject: str) -> str:
    """A token the client can read the expiry of (it compares with the wall clock)."""
    claims = {"sub": subject, "exp": int(time.time()) + TOKEN_LIFE}
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    encoded = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "emulator"])


def digest_of_nothing() -> str:
    """SHA-256 of an empty file."""
    return "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
