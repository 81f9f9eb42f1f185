"""Trains a small model over a directory of PNG files, as people do: `train.py DIRECTORY EPOCHS WORKERS`.

Reads each file with plain open(). Prints one JSON line an epoch: its loss, its accuracy, how many images it saw, and
when it ended by time.monotonic().
"""

import json
import struct
import sys
import time
import zlib
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

SIDE = 16
CLASSES = 4


class Images(Dataset[tuple[torch.Tensor, int]]):
    """The files of DIRECTORY/<class>/*.png."""

    def __init__(self, root: Path) -> None:
        self.paths = sorted(root.glob("*/*.png"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path = self.paths[index]
        with open(path, "rb") as file:
            pixels = decode(file.read())
        return pixels, int(path.parent.name)


def decode(data: bytes) -> torch.Tensor:
    """An RGB image of 8 bits without filters, checked by PNG's own checksums; shape (3, SIDE, SIDE)."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    body, at = b"", 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        chunk = data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + chunk)
        body += chunk if kind == b"IDAT" else b""
        at += 12 + length
    rows = torch.frombuffer(bytearray(zlib.decompress(body)), dtype=torch.uint8).reshape(SIDE, 1 + 3 * SIDE)
    return rows[:, 1:].reshape(SIDE, SIDE, 3).permute(2, 0, 1).float() / 255


def main() -> None:
    """Trains and reports."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    root, epochs, workers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    loader = DataLoader(Images(root), batch_size=64, shuffle=True, num_workers=workers)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 7 * 7, CLASSES),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(epochs):
        seen, right, total = 0, 0, 0.0
        for images, labels in loader:
            answers = model(images)
            loss = torch.nn.functional.cross_entropy(answers, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(labels)
            right += int((answers.argmax(1) == labels).sum())
            total += float(loss.detach()) * len(labels)
        report = {
            "epoch": epoch,
            "seen": seen,
            "loss": total / seen,
            "accuracy": right / seen,
            "end_s": time.monotonic(),
        }
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
