"""Images by digest: which are named, what is written of them, and what is told where there is none."""

from pathlib import Path

import pytest

from deploy import images
from tests.deploy.conftest import DEPLOY

DIGEST = "sha256:" + "0f" * 32


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for docker that prints what a file holds, and fails where there is none; beside it images.env."""
    program = tmp_path / "docker"
    program.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "buildx imagetools inspect" ] && cat {tmp_path}/answer\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(images, "LOCK", tmp_path / "images.env")
    (tmp_path / "answer").write_text(DIGEST + "\n")
    return tmp_path


def test_every_image_of_others_has_a_variable() -> None:
    assert set(images.named()) == {
        "BASE_IMAGE",
        "PROMETHEUS_IMAGE",
        "ALERTMANAGER_IMAGE",
        "HAPROXY_IMAGE",
        "GRAFANA_IMAGE",
    }
    for file in (*DEPLOY.glob("compose/*.yaml"), *DEPLOY.glob("swarm/*.yaml")):
        lines = [line for line in file.read_text().splitlines() if line.strip().startswith("image:")]
        assert all("_IMAGE:-" in line for line in lines), file
    makefile = (DEPLOY.parent / "Makefile").read_text()
    assert all(variable in makefile for variable in images.named())


def test_a_digest_stands_behind_each_tag(docker: Path) -> None:
    assert images.main([]) == 0
    lines = (docker / "images.env").read_text().splitlines()[1:]
    assert f"PROMETHEUS_IMAGE={images.named()['PROMETHEUS_IMAGE']}@{DIGEST}" in lines
    assert len(lines) == len(images.named())


def test_a_tag_that_moved_is_told(docker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images.main([])
    assert images.main(["--check"]) == 0 and "every digest" in capsys.readouterr().out
    (docker / "answer").write_text(DIGEST.replace("0f", "1f"))
    assert images.main(["--check"]) == 1 and "@sha256:1f" in capsys.readouterr().out
    assert DIGEST in (docker / "images.env").read_text()


@pytest.mark.parametrize("answer", ["", "no such manifest", "sha256:12"])
def test_an_image_without_a_digest_changes_nothing(
    docker: Path, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (docker / "answer").write_text(answer)
    assert images.main([]) == 2 and not (docker / "images.env").exists()
    assert images.named()["ALERTMANAGER_IMAGE"] in capsys.readouterr().err


def test_two_tags_of_one_image_are_an_error(tmp_path: Path) -> None:
    for folder, tag in (("compose", "1"), ("swarm", "2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.yaml").write_text("image: ${X_IMAGE:-x:" + tag + "}\n")
    with pytest.raises(images.ImagesError, match="X_IMAGE"):
        images.named(tmp_path)
