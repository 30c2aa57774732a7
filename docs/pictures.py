"""The pictures of the README, taken from what `make demo` wrote: `make pictures` (needs chromium and chromedriver)."""

from __future__ import annotations

import argparse
import base64
import shutil
import tempfile
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
MORE = "--disable-component-update --disable-sync --hide-scrollbars"


def main() -> None:
    """Take every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path("demo"), help="what make demo wrote")
    parser.add_argument("--out", type=Path, default=Path("docs/img"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    page = (options.demo / "report.html").resolve().as_uri()
    shots = {"report": (1180, 900, False), "report-dark": (1180, 900, True), "report-phone": (390, 900, False)}
    for name, (width, height, dark) in shots.items():
        shoot(page, options.out / f"{name}.png", width, height, dark)
    shrink(options.demo / "map.png", options.out / "map.png", 900)


def shoot(page: str, path: Path, width: int, height: int, dark: bool) -> None:
    """A window of the page, its first hallucinated word (or else its tenth word) chosen."""
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        for flag in (*FLAGS.split(), *MORE.split(), f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
            driver.get(page)
            WebDriverWait(driver, 60).until(lambda page: page.execute_script("return document.body.dataset.ready"))
            driver.execute_script(
                "const chosen = document.querySelector('.word.hallucinated') ?? document.querySelectorAll('.word')[9];"
                "chosen.click(); const bar = innerWidth > 640 ? document.getElementById('bar').offsetHeight : 0;"
                "scrollTo(0, chosen.closest('.case').offsetTop - bar + 14)"
            )
            time.sleep(0.6)
            shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        finally:
            driver.quit()
    path.write_bytes(base64.b64decode(shot["data"]))
    shrink(path, path, width)


def shrink(source: Path, target: Path, width: int) -> None:
    """At most `width` pixels wide."""
    with Image.open(source) as image:
        picture = image.convert("RGB")
    if picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    picture.save(target, optimize=True)


if __name__ == "__main__":
    main()
