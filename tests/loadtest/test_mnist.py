"""MNIST through a service: what is sent, and the table."""

from pathlib import Path

import numpy as np
import pytest

from bentos.statistics import interval
from loadtest.mnist import IMAGES, LABELS, classify, markdown, read
from loadtest.service import ServiceError


def test_images_go_as_pictures_and_come_back_as_digits(service_url: str) -> None:
    """A one and a blank one beside it: no digit, which the service says."""
    image = np.zeros((2, 28, 28), np.uint8)
    image[0, 4:24, 13:15] = 255
    assert classify(service_url, image[:1]).tolist() == [1]
    with pytest.raises(ServiceError, match=r"image 1: .*: 400 .*blank"):
        classify(service_url, image)


def test_the_table_has_shares_their_intervals_and_what_was_read_instead() -> None:
    labels = np.repeat(np.arange(10), 100)
    read_as = labels.copy()
    read_as[200:205] = [8, 8, 3, 8, 7]
    lines = markdown(labels, read_as).splitlines()
    exact = interval(95, 100)
    assert lines[4] == f"| 2 | 100 | 95.0 | {100 * exact.low:.1f}–{100 * exact.high:.1f} | 8 (3), 3 (1), 7 (1) |"
    assert lines[-1].startswith("| all | 1,000 | 99.5 | ")
    assert lines[2].startswith("| 0 | 100 | 100.0 | 96.4–100.0 | ")


def test_mnists_files_are_read(tmp_path: Path) -> None:
    (tmp_path / IMAGES).write_bytes(bytes(16) + bytes(range(256)) * 6 + bytes(32))
    (tmp_path / LABELS).write_bytes(bytes(8) + bytes([3, 4]))
    images, labels = read(tmp_path)
    assert images.shape == (2, 28, 28) and images[0, 0, 5] == 5 and labels.tolist() == [3, 4]
    (tmp_path / LABELS).write_bytes(bytes(8) + bytes([3]))
    with pytest.raises(ValueError, match="2 images and 1 labels"):
        read(tmp_path)
