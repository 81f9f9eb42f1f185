"""Builds the native holder beside the extension modules: setuptools' build_ext, as pyproject.toml names it.

The program goes into the package as `tierfs/tierfs-holder`. It needs a C compiler and nothing else; where it cannot
be built (no C11 atomics, not Linux), the installation goes on without it and tierfs mounts by pyfuse3 alone.
"""

import sys
from distutils.errors import CompileError, LinkError
from pathlib import Path

from setuptools.command.build_ext import build_ext

SOURCES = sorted(str(path) for path in Path("native", "holder").glob("*.c"))
COMPILE_FLAGS = ["-O2", "-g", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-pthread"]
PROGRAM = "tierfs-holder"


class BuildExt(build_ext):
    """build_ext, and then the holder."""

    def run(self) -> None:
        super().run()
        if sys.platform != "linux":
            return
        try:
            objects = self.compiler.compile(
                SOURCES, output_dir=self.build_temp, extra_postargs=COMPILE_FLAGS, depends=self._headers()
            )
            self.compiler.link_executable(objects, PROGRAM, output_dir=self._package(), extra_postargs=["-pthread"])
        except (CompileError, LinkError) as error:
            self.warn(f"without the native holder: {error}")

    def get_outputs(self) -> list[str]:
        program = Path(self._package(), PROGRAM)
        return [*super().get_outputs(), *([str(program)] if program.exists() else [])]

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *SOURCES, *self._headers(), "native/build_holder.py"]

    def _package(self) -> str:
        """Where the package is made: in the source tree for an editable installation."""
        if self.inplace or getattr(self, "editable_mode", False):
            return str(Path(self.get_finalized_command("build_py").get_package_dir("tierfs")).absolute())
        return str(Path(self.build_lib, "tierfs"))

    @staticmethod
    def _headers() -> list[str]:
        return sorted(str(path) for path in Path("native", "holder").glob("*.h"))
