from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError
from PIL import Image

from pruneguard.evaluation.report import write_report


def _audit(rate: float) -> dict[str, Any]:
    return {
        "target_rate": rate,
        "preserved": {"object": 0.98, "style": 0.97, "colour": 0.96},
        "target_preserved": {"object": 0.94, "colour": 0.91},
        "images": {"target": 64, "other": 96},
        "detector": "atelier-oracle",
    }


NUMBERS: dict[str, Any] = {
    "concept": "hatching <&>",
    "wall_s": 271.3,
    "limit": 0.05,
    "resumed": False,
    "passed": True,
    "teacher": _audit(0.984),
    "distilled": _audit(0.97),
    "erased": _audit(0.016),
    "engine": _audit(0.0313),
    "unet_macs": {"dense": 250_000_000, "erased": 144_000_000, "ratio": 0.576},
    "latency": {
        "dense_ms": 20.0,
        "pruned_ms": 13.0,
        "erased_ms": 13.1,
        "diffusers_image_ms": 900.0,
        "engine_image_ms": 330.0,
        "erased_to_pruned": (1.008, 0.99, 1.02),
        "erased_to_dense": (0.655, 0.64, 0.67),
        "engine_to_diffusers": (0.367, 0.35, 0.38),
        "threads": 2,
    },
    "parity": {"images": {"psnr_db": [58.2, 61.0]}},
}


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "grid.png"
    Image.new("RGB", (8, 8)).save(path)
    return path


def test_the_report_is_one_page_with_the_numbers_and_three_pictures_inside(tmp_path: Path, grid: Path) -> None:
    write_report(tmp_path / "report.html", NUMBERS, grid)
    page = (tmp_path / "report.html").read_text()
    assert len(re.findall(r'src="data:image/png;base64,[A-Za-z0-9+/=]{60,}"', page)) == 3
    assert not re.search(r"(src|href)=.(?!data:)", page)  # nothing is fetched
    for shown in (
        "98.4 % → 3.1 %",
        "57.6 %",
        "0.37 ×",
        "1.01 ×",
        "13.10",
        "271 s",
        "58.2 dB",
        "on 2 threads",
        "object 94 %, colour 91 %",
        "Audit passed (limit 5.0 %)",
    ):
        assert shown in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.png", "report.html"]


def test_names_are_escaped(tmp_path: Path, grid: Path) -> None:
    write_report(tmp_path / "report.html", NUMBERS, grid)
    page = (tmp_path / "report.html").read_text()
    assert "hatching &lt;&amp;&gt;" in page
    assert "hatching <&>" not in page


def test_a_number_that_is_missing_is_an_error_and_leaves_the_earlier_report(tmp_path: Path, grid: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("earlier")
    numbers = copy.deepcopy(NUMBERS)
    del numbers["wall_s"]
    with pytest.raises(UndefinedError, match="wall_s"):
        write_report(report, numbers, grid)
    assert report.read_text() == "earlier"


def test_a_failed_audit_is_said_first(tmp_path: Path, grid: Path) -> None:
    write_report(tmp_path / "report.html", {**NUMBERS, "passed": False}, grid)
    assert "Audit failed: the runtime refuses this bundle" in (tmp_path / "report.html").read_text()


def test_attributes_that_nobody_measured_are_dashes(tmp_path: Path, grid: Path) -> None:
    numbers = copy.deepcopy(NUMBERS)
    for name in ("teacher", "distilled", "erased", "engine"):
        numbers[name]["preserved"] = numbers[name]["target_preserved"] = {}
    write_report(tmp_path / "report.html", numbers, grid)
    assert (tmp_path / "report.html").read_text().count("<td>–</td>") == 4 * 4 + 1
