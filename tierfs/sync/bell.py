"""What content rings; those who hear it are built over content, and come later."""

from attrs import define

from tierfs.sync.exporter import Exporter
from tierfs.sync.importer import Importer


@define
class Bell:
    """Nobody hears it before both are there."""

    exporter: Exporter | None = None
    importer: Importer | None = None

    def wake(self) -> None:
        """There is something to export."""
        if self.exporter is not None:
            self.exporter.wake()

    def make_room(self) -> None:
        """The tier is full of what is not in the bucket."""
        if self.exporter is not None:
            self.exporter.make_room()

    def doubt(self, ino: int) -> None:
        """A read found that the object is another version, or gone."""
        if self.importer is not None:
            self.importer.doubt(ino)
