from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError
from PIL import Image

from pruneguard.errors import ConfigError
from pruneguard.evaluation.latency import ratio, timing
from pruneguard.evaluation.report import write_report
from pruneguard.measurement import Measurement, Protocol
from pruneguard.settings import plain


def _audit(rate: float) -> list[dict[str, Any]]:
    protocol = Protocol(detector="atelier-oracle", settings={"steps": 25, "guidance_scale": 7.5, "size": [64, 64]})
    drawn = Measurement(name="drawn", value=rate, unit="share", high=min(1.0, rate + 0.05), protocol=protocol)
    kept = [Measurement(name=name, value=value, unit="share") for name, value in KEPT.items()]
    measurements: list[dict[str, Any]] = plain([drawn, *kept])
    return measurements


KEPT = {"kept/shape": 0.98, "kept/ink": 0.97, "rest/shape": 0.94}
LATENCY = [
    timing("unet/dense", [20.0]),
    timing("unet/erased", [13.14, 13.14, 13.14]),
    ratio("unet/erased to pruned", [1.008], [1.0]),
    ratio("unet/erased to dense", [0.655], [1.0]),
    ratio("image/engine to diffusers", [0.367], [1.0]),
]
NUMBERS: dict[str, Any] = {
    "concept": "hatching <&>",
    "wall_s": 271.3,
    "limit": 0.05,
    "resumed": False,
    "passed": True,
    "audits": {
        "teacher": _audit(0.984),
        "distilled": _audit(0.97),
        "erased": _audit(0.016),
        "engine": _audit(0.0313),
    },
    "unet_macs": {"dense": 250_000_000, "erased": 144_000_000, "ratio": 0.576},
    "latency": {"measurements": plain(LATENCY), "threads": 2},
    "parity": [{"name": "parity/images/psnr", "value": 58.2, "unit": "dB", "count": 2}],
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
        "98.4% → 3.1%",
        "57.6%",
        "0.37 ×",
        "1.01 ×",
        "13.1 ms (13.1 ms to 13.1 ms)",
        "0.250 GMACs",
        "271 s",
        "58.2 dB",
        "on 2 threads",
        "<td>3.1% (at most 8.1%)</td>".replace("<td>", '<td class="mark">'),
        "steps 25, guidance scale 7.5",
        "read by atelier-oracle",
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


def test_the_table_has_the_measurements_that_are_there(tmp_path: Path, grid: Path) -> None:
    numbers = copy.deepcopy(NUMBERS)
    extra = Measurement(name="clip score/other", value=31.25)
    numbers["audits"]["engine"].append(plain(extra))
    write_report(tmp_path / "report.html", numbers, grid)
    page = (tmp_path / "report.html").read_text()
    for name in ("drawn", "kept shape", "kept ink", "rest shape", "clip score other"):
        assert f"<th>{name}</th>" in page
    assert "<td>31.25</td>" in page
    assert page.count("<td>–</td>") == 3  # the other subjects


def test_what_is_no_measurement_is_refused(tmp_path: Path, grid: Path) -> None:
    numbers = copy.deepcopy(NUMBERS)
    numbers["audits"]["engine"][0]["value"] = "none"
    with pytest.raises(ConfigError, match="not a measurement"):
        write_report(tmp_path / "report.html", numbers, grid)


def test_the_implicit_rate_and_the_space_are_shown_if_there_are_any(tmp_path: Path, grid: Path) -> None:
    write_report(tmp_path / "report.html", NUMBERS, grid)
    plain_page = (tmp_path / "report.html").read_text()
    assert "Audited over 25 steps, guidance 7.5:" in plain_page
    assert "<th>drawn implicit</th>" not in plain_page
    assert "prompts that do not name it show it: dense" not in plain_page

    numbers = copy.deepcopy(NUMBERS)
    space = {"steps": [10, 50], "guidance_scale": [1, 15], "sizes": [], "negative_prompts": ["blurry"]}
    for name, rate in (("teacher", 0.125), ("distilled", 0.1), ("erased", 0.02), ("engine", 0.0)):
        numbers["audits"][name][0]["protocol"]["settings"]["space"] = space
        unnamed = Measurement(name="drawn/implicit", value=rate, unit="share", high=rate + 0.05)
        numbers["audits"][name].insert(1, plain(unnamed))
    write_report(tmp_path / "report.html", numbers, grid)
    page = (tmp_path / "report.html").read_text()
    assert "Audited over 10 to 50 steps, guidance 1 to 15, 1 negative prompt:" in page
    assert "<b>12.5% → 0.0%</b>" in page
    assert "<th>drawn implicit</th>" in page
    assert "<td>12.5% (at most 17.5%)</td>" in page
    assert "steps 25, guidance scale 7.5" in page
