"""The holder under each sanitizer, for the tests that play kernel and pyfuse3."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.native import holder_rig as wire
from tests.native.holder_rig import Rig, Run, rig

SANITIZERS = {
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "thread": ("-fsanitize=thread",),
}


@pytest.fixture(scope="session", params=list(SANITIZERS))
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("holder") / "tierfs-holder"
    return wire.build(output, *SANITIZERS[request.param])


@pytest.fixture
def run(program: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a scenario; whatever the holder writes to stderr is a failure."""

    def run(scenario: Callable[[Rig], Awaitable[None]]) -> None:
        async def main() -> None:
            async with rig(program) as made:
                await scenario(made)

        trio.run(main)
        assert capfd.readouterr().err == ""

    return run
