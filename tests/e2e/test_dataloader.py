"""A PyTorch DataLoader trains over images that another client uploaded; the second epoch asks for nothing."""

import importlib.util
import io
import json
import random
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import minio
import pytest

from tests.support import programs
from tests.support.mounts import mounted
from tests.support.tap import Tap
from tests.support.weed import ADMIN, WeedServer

IMAGES = 3_000
CLASSES = 4
SIDE = 16
TRAINING = Path(__file__).with_name("train.py")


def png(label: int, chooser: random.Random) -> bytes:
    """A valid PNG whose colours tell its class to whoever looks hard enough."""
    rows = b""
    for y in range(SIDE):
        # filter 0, then noise with a bright stripe at a place of the class
        rows += b"\0" + bytes(
            min(255, chooser.randrange(120) + (90 if (x + y) // 4 % CLASSES == label else 0))
            for x in range(SIDE)
            for _ in range(3)
        )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    # the noise of a text chunk makes the sizes differ, as they do in real sets
    text = chooser.randbytes(chooser.randrange(6_000)).hex().encode()
    chunks = chunk(b"IHDR", header) + chunk(b"tEXt", b"Comment\0" + text) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IEND", b"")


def upload(weed: WeedServer, bucket: str) -> int:
    """Uploads the images with a client that knows nothing of tierfs; returns their bytes."""
    server = urlsplit(weed.endpoint_url).netloc
    client = minio.Minio(endpoint=server, access_key=ADMIN[0], secret_key=ADMIN[1], secure=False, region="us-east-1")
    chooser = random.Random(5)
    images = [(f"images/{n % CLASSES}/img_{n:05}.png", png(n % CLASSES, chooser)) for n in range(IMAGES)]
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(
            lambda image: client.put_object(bucket, image[0], io.BytesIO(image[1]), len(image[1])), images
        ):
            pass
    return sum(len(body) for _, body in images)


def test_second_epoch_reads_no_object(weed: WeedServer, weed_bucket: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed: its pinned CPU build is for Python 3.11 only")
    uploaded_bytes = upload(weed, weed_bucket)
    with Tap(weed.endpoint_url) as tap:
        settings = {"store": {"endpoint_url": tap.url}}
        with mounted(f"s3://{weed_bucket}", tmp_path, settings=settings, env={"AWS_ENDPOINT_URL": tap.url}) as mount:
            training = [sys.executable, str(TRAINING), str(mount.path / "images"), "2", "4"]
            output = programs.run(training, timeout_s=240).stdout
            first, second = map(json.loads, output.splitlines())
            status = mount.status()
        reads = [request for request in tap.requests() if request.is_object_read and "/images/" in request.target]
    assert first["seen"] == second["seen"] == IMAGES
    assert second["loss"] < first["loss"]
    assert second["accuracy"] > 0.5, "it learns nothing: are these the right bytes?"
    assert len([r for r in reads if r.when_s <= first["end_s"]]) == IMAGES, "one GET an image, and no more"
    assert not [r for r in reads if r.when_s > first["end_s"]], "the second epoch asks the server again"
    assert status["tier"]["used_bytes"] >= uploaded_bytes
    assert status["pending_exports"] == 0, "reading made something to upload"
