"""Deployed apps: what `App.deploy` and `Function.from_name` of modal 1.6.4 send.

    AppGetByDeploymentName, AppCreate, AppGetLayout   runner.py, _init_local_app_*
    AppHeartbeat, AppPublish, AppClientDisconnect     runner.py, _deploy_app
    FunctionPrecreate, FunctionCreate, FunctionGet    _functions.py, _preload, _load, _from_name

Nothing of an app runs here: a test runs what was deployed itself, from the definition kept here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.emulators.modal.account import ENVIRONMENT
from tests.emulators.modal.world import App, World, found, new_id

Metadata = Mapping[str, Any]


@dataclass
class Deployed:
    """definition: api_pb2.Function, None until it was created. url: of a web function."""

    id: str
    app: App
    name: str
    function_type: Any
    webhook: Any
    definition: Any = None

    @property
    def url(self) -> str:
        if not self.webhook.type:
            return ""
        return f"https://emulated--{self.app.name}-{self.name}.modal.run"


@dataclass
class Layout:
    """What an app's last AppPublish made public, by tag."""

    function_ids: dict[str, str] = field(default_factory=dict)
    deployments: int = 0


class Functions:
    """The calls of a deployment and of looking one up."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def AppGetByDeploymentName(self, request: Any, _metadata: Metadata) -> Any:
        environment = request.environment_name or ENVIRONMENT
        app = self._app(request.name, environment)
        return api_pb2.AppGetByDeploymentNameResponse(app_id=app.id if app else "")

    async def AppCreate(self, request: Any, _metadata: Metadata) -> Any:
        environment = request.environment_name or ENVIRONMENT
        app = App(new_id("ap"), request.description, environment, self._world.clock.now())
        app.tags = dict(request.tags)
        self._world.apps[app.id] = app
        page = f"https://modal.com/apps/{app.id}"
        return api_pb2.AppCreateResponse(app_id=app.id, app_page_url=page)

    async def AppGetLayout(self, request: Any, _metadata: Metadata) -> Any:
        app = self._world.app(request.app_id)
        reply = api_pb2.AppGetLayoutResponse()
        layout = self._world.layouts.get(app.id, Layout())
        for name, function_id in layout.function_ids.items():
            reply.app_layout.function_ids[name] = function_id
            known = self._world.functions[function_id]
            reply.app_layout.objects.add(
                object_id=function_id, function_handle_metadata=self._handle(known)
            )
        return reply

    async def AppHeartbeat(self, request: Any, _metadata: Metadata) -> Any:
        self._world.app(request.app_id)
        return Empty()

    async def AppClientDisconnect(self, request: Any, _metadata: Metadata) -> Any:
        """Ends an app that was never published; else nothing (runner.py, _deploy_app)."""
        app = self._world.app(request.app_id)
        app.stopped = app.stopped or app.id not in self._world.layouts
        return Empty()

    async def AppPublish(self, request: Any, _metadata: Metadata) -> Any:
        app = self._world.app(request.app_id)
        if request.app_state != api_pb2.APP_STATE_DEPLOYED:
            raise GRPCError(Status.INVALID_ARGUMENT, "the emulator publishes deployments only")
        for function_id in request.function_ids.values():
            if found(self._world.functions, function_id, "Function").definition is None:
                raise GRPCError(Status.FAILED_PRECONDITION, f"{function_id} was never created")
        app.name, app.tags = request.name, dict(request.tags)
        layout = self._world.layouts.setdefault(app.id, Layout())
        layout.function_ids = dict(request.function_ids)
        layout.deployments += 1
        page = f"https://modal.com/apps/{app.id}"
        return api_pb2.AppPublishResponse(url=page, deployed_at=self._world.clock.now())

    async def FunctionPrecreate(self, request: Any, _metadata: Metadata) -> Any:
        app = self._world.app(request.app_id)
        known = self._world.functions.get(request.existing_function_id)
        if known is None:
            known = Deployed(new_id("fu"), app, request.function_name, None, None)
            self._world.functions[known.id] = known
        known.function_type, known.webhook = request.function_type, request.webhook_config
        handle = self._handle(known)
        return api_pb2.FunctionPrecreateResponse(function_id=known.id, handle_metadata=handle)

    async def FunctionCreate(self, request: Any, _metadata: Metadata) -> Any:
        known = found(self._world.functions, request.existing_function_id, "Function")
        definition = request.function
        self._world.image(definition.image_id)
        for mount_id in definition.mount_ids:
            found(self._world.mounts, mount_id, "Mount")
        for secret_id in definition.secret_ids:
            found(self._world.secrets, secret_id, "Secret")
        for mount in definition.volume_mounts:
            found(self._world.volumes, mount.volume_id, "Volume")
        known.definition = definition
        handle, data = self._handle(known), self._data(known)
        return api_pb2.FunctionCreateResponse(
            function_id=known.id, function=definition, function_data=data, handle_metadata=handle
        )

    async def FunctionGet(self, request: Any, _metadata: Metadata) -> Any:
        environment = request.environment_name or ENVIRONMENT
        app = self._app(request.app_name, environment)
        ids = self._world.layouts.get(app.id, Layout()).function_ids if app else {}
        if app is None or app.stopped or request.object_tag not in ids:
            named = f"'{request.object_tag}' of App '{request.app_name}'"
            raise GRPCError(Status.NOT_FOUND, f"Function {named} not found")
        known = self._world.functions[ids[request.object_tag]]
        return api_pb2.FunctionGetResponse(
            function_id=known.id, handle_metadata=self._handle(known), function=self._data(known)
        )

    def _app(self, name: str, environment: str) -> App | None:
        for app in self._world.apps.values():
            if (app.name, app.environment) == (name, environment) and not app.stopped:
                return app
        return None

    def _handle(self, known: Deployed) -> Any:
        return api_pb2.FunctionHandleMetadata(
            function_name=known.name,
            function_type=known.function_type,
            web_url=known.url,
            app_id=known.app.id,
        )

    def _data(self, known: Deployed) -> Any:
        """What types.py, FunctionInfo._from_function_proto, reads."""
        definition = known.definition
        data = api_pb2.FunctionData(
            module_name=definition.module_name,
            function_name=definition.function_name,
            implementation_name=definition.implementation_name,
            function_type=definition.function_type,
            webhook_config=definition.webhook_config,
            autoscaler_settings=definition.autoscaler_settings,
            timeout_secs=definition.timeout_secs,
        )
        data.ranked_functions.add(rank=0, function=definition)
        return data
