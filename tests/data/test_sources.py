from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pruneguard.data.cache import encode_images
from pruneguard.data.picture_digests import picture_digests
from pruneguard.data.pictures import read_picture
from pruneguard.errors import ConfigError, DataError
from pruneguard.families.atelier.data import from_atelier
from pruneguard.models import Pipeline
from pruneguard.runs.progress import Advance
from pruneguard.training import DrawSettings, from_captions, from_coco, from_image_folder


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (64, 64)) -> None:
    Image.new("RGB", size, colour).save(path)


def listing(folder: Path, *entries: Any) -> None:
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    (folder / "metadata.jsonl").write_text("\n".join(lines))


def test_image_folder(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (255, 0, 0))
    picture(tmp_path / "b.png", (0, 0, 255), (128, 80))
    listing(tmp_path, {"file_name": "a.png", "text": "red"}, "", {"file_name": "b.png", "text": "blue"})
    found = from_image_folder(tmp_path, tiny_pipeline)
    assert [found.caption(row) for row in range(len(found))] == ["red", "blue"]
    blue = torch.tensor([0, 0, 255], dtype=torch.uint8).expand(1, 64, 64, 3)
    torch.testing.assert_close(found.latents([1]), encode_images(tiny_pipeline, blue), rtol=0, atol=1e-3)


def test_data_is_known_by_its_content_and_not_by_its_place(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    first.mkdir()
    picture(first / "a.png", (255, 0, 0))
    listing(first, {"file_name": "a.png", "text": "red"})
    digest = from_image_folder(first, tiny_pipeline).digest
    shutil.copytree(first, second)
    os.utime(second / "a.png", (1, 1))
    assert from_image_folder(second, tiny_pipeline).digest == digest
    listing(second, {"file_name": "a.png", "text": "crimson"})
    assert from_image_folder(second, tiny_pipeline).digest != digest
    listing(second, {"file_name": "a.png", "text": "red"})
    picture(second / "a.png", (254, 0, 0))
    assert from_image_folder(second, tiny_pipeline).digest != digest


def test_a_picture_that_has_not_changed_is_not_hashed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, kept = [tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "run"
    for number, path in enumerate(paths):
        picture(path, (number, 0, 0))
    digests = picture_digests(paths, kept)
    assert digests == [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    read: list[Path] = []

    def note(path: Path) -> str:
        read.append(path)
        return "0" * 64

    monkeypatch.setattr("pruneguard.data.picture_digests._digest", note)
    assert picture_digests(paths, kept) == digests
    os.utime(paths[1], (1, 1))
    assert picture_digests(paths, kept) == [digests[0], "0" * 64]
    assert read == [paths[1]]
    (kept / "picture-digests/digests.json").write_text("[")  # it can be computed again
    assert picture_digests(paths[:1], kept) == ["0" * 64]
    with pytest.raises(DataError, match=r"picture .*c\.png does not exist"):
        picture_digests([tmp_path / "c.png"])


def test_pictures_are_turned_resized_and_centre_cropped(tmp_path: Path) -> None:
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, 32:96] = 200  # what a centre crop keeps
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert np.unique(read_picture(tmp_path / "wide.png", 64).numpy()).tolist() == [200]
    turned = Image.fromarray(np.vstack([np.full((8, 16, 3), 250, np.uint8), np.zeros((8, 16, 3), np.uint8)]))
    exif = turned.getexif()
    exif[0x0112] = 3  # upside down
    turned.save(tmp_path / "turned.png", exif=exif)
    upright = read_picture(tmp_path / "turned.png", 16)
    assert (upright[0, 0, 0].item(), upright[15, 0, 0].item()) == (0, 250)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"file_name": "none.png", "text": "x"}, r"picture .*none\.png does not exist"),
        ({"file_name": "broken.png", "text": "x"}, r"picture .*broken\.png cannot be read"),
        ({"file_name": "../a.png", "text": "x"}, r"line 1: file name '\.\./a\.png' leads out"),
        ({"file_name": "/etc/passwd", "text": "x"}, "line 1: file name '/etc/passwd' leads out"),
        ({"file_name": "broken.png"}, "line 1: not a JSON object with the keys"),
        ({"file_name": 3, "text": "x"}, "line 1: `file_name` and `text` must be texts"),
        ("{", "line 1: not a JSON object"),
        ("", "lists no pictures"),
    ],
)
def test_wrong_image_folders(tiny_pipeline: Pipeline, tmp_path: Path, entry: Any, says: str) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    listing(tmp_path, entry)
    with pytest.raises(DataError, match=says):
        from_image_folder(tmp_path, tiny_pipeline)


def test_image_folder_without_listing(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"metadata\.jsonl cannot be read"):
        from_image_folder(tmp_path, tiny_pipeline)


def test_coco_encodes_a_picture_once_for_all_its_captions(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    picture(tmp_path / "0.png", (255, 0, 0))
    picture(tmp_path / "7.png", (0, 255, 0))
    annotations = tmp_path / "captions.json"
    content = {
        "images": [{"id": 0, "file_name": "0.png"}, {"id": 7, "file_name": "7.png"}],
        "annotations": [
            {"image_id": 7, "caption": "green "},
            {"image_id": 0, "caption": "red"},
            {"image_id": 7, "caption": "all green"},
        ],
    }
    annotations.write_text(json.dumps(content))
    found = from_coco(annotations, tmp_path, tiny_pipeline)
    assert [found.caption(row) for row in range(3)] == ["green", "red", "all green"]
    assert len(found.images) == 2
    assert torch.equal(found.latents([0]), found.latents([2]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", "is not a COCO caption file"),
        ('{"images": [], "annotations": []}', "has no captions"),
        ('{"images": [], "annotations": [{"image_id": 0, "caption": "x"}]}', "belongs to image 0"),
        (
            '{"images": [{"id": 0, "file_name": "../x"}], "annotations": [{"image_id": 0, "caption": "x"}]}',
            "leads out of",
        ),
    ],
)
def test_wrong_coco_files(tiny_pipeline: Pipeline, tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "captions.json").write_text(content)
    with pytest.raises(DataError, match=says):
        from_coco(tmp_path / "captions.json", tmp_path, tiny_pipeline)


def test_missing_coco_file(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        from_coco(tmp_path / "none.json", tmp_path, tiny_pipeline)


def test_synthetic_pictures_depend_on_their_seed_alone(tiny_pipeline: Pipeline) -> None:
    captions = ["a red disc", "a blue ring"]
    draw = DrawSettings(steps=2, batch_size=2)
    found = from_captions(captions, tiny_pipeline, size=3, draw=draw)
    assert [found.caption(row) for row in range(3)] == [*captions, "a red disc"]
    assert not torch.equal(found.latents([0]), found.latents([2]))
    alone = from_captions(captions, tiny_pipeline, size=3, draw=DrawSettings(steps=2, batch_size=1))
    torch.testing.assert_close(alone.latents([0, 1, 2]), found.latents([0, 1, 2]), rtol=1e-3, atol=1e-3)
    assert found.latents([0]).std().item() > 0.1


def test_synthetic_captions_are_checked(tiny_pipeline: Pipeline) -> None:
    with pytest.raises(ConfigError, match="caption list: ' ' is not a prompt"):
        from_captions(["a disc", " "], tiny_pipeline)
    for nothing in ([], ["a child on a swing"]):
        with pytest.raises(ConfigError, match="at least one picture, and one caption that does not mention minors"):
            from_captions(nothing, tiny_pipeline)


def test_synthetic_captions_that_mention_minors_are_left_out_and_counted(tiny_pipeline: Pipeline) -> None:
    captions, seen = ["a disc", "a boy on a swing", "a ring", "two girls"], list[Advance]()
    found = from_captions(captions, tiny_pipeline, draw=DrawSettings(steps=1), on_progress=seen.append)
    assert found.captions == ("a disc", "a ring")
    assert seen[0] == Advance("captions, without 2 that mention minors", 2, 2, {"captions/dropped": 2})


def test_ateliers_stream(tiny_pipeline: Pipeline) -> None:
    first, again = (from_atelier(tiny_pipeline, 6, seed=1) for _ in range(2))
    assert len(first) == 6
    assert torch.equal(first.latents(range(6)), again.latents(range(6)))
    assert first.digest == again.digest != from_atelier(tiny_pipeline, 6, seed=2).digest
    with pytest.raises(ConfigError, match="`size` is 0"):
        from_atelier(tiny_pipeline, 0)
    tiny_pipeline.unet.register_to_config(sample_size=8)
    with pytest.raises(ConfigError, match="64 pixels wide and tiny draws 32"):
        from_atelier(tiny_pipeline, 6)
