"""A headless Chromium for the tests of the page, watched: what it asks for, what it complains about; and its words."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import contextmanager

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars"
)
CANVASES = "return [...document.querySelectorAll('.case canvas')].map((canvas) => canvas.toDataURL())"


@contextmanager
def browser(profile):
    """A driver with an empty profile in the folder `profile`; skips the test where there is no Chromium."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    driver_path = shutil.which("chromedriver")
    if not found or not driver_path:
        pytest.skip("no chromium (or google-chrome) with chromedriver on PATH, so no page can be opened")
    options = webdriver.ChromeOptions()
    options.binary_location = found
    for flag in (*FLAGS.split(), f"--user-data-dir={profile}", "--window-size=1280,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver_path))
    try:
        yield driver
    finally:
        driver.quit()


def open_page(driver, path, width=1280, height=900):
    """Open a report and wait until it has drawn itself."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(path.resolve().as_uri())
    wait_until(driver, "return document.body.dataset.ready === 'true'")


def wait_until(driver, script, seconds=20):
    """Wait until `script` returns something true."""
    end = time.monotonic() + seconds
    while not driver.execute_script(script):
        assert time.monotonic() < end, f"the page never came to: {script}"
        time.sleep(0.02)


def requests(driver):
    """Addresses that the page asked for since the last call."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def complaints(driver):
    """What was logged to the console since the last call."""
    return [entry["message"] for entry in driver.get_log("browser")]


def words_of(driver):
    return driver.find_elements(By.CSS_SELECTOR, ".answer .word")


def of_words(driver, value):
    """What a JavaScript expression of `word` is for each word: one call, where a call for each takes seconds."""
    return driver.execute_script(f"return [...document.querySelectorAll('.answer .word')].map((word) => {value})")


def classes(driver, name):
    return of_words(driver, f"word.classList.contains('{name}')")


def click_word(driver, at):
    before = driver.execute_script(CANVASES)
    words_of(driver)[at].click()
    wait_until(driver, f"return document.querySelector('.case').dataset.shown.endsWith(':{at}')")
    return before, driver.execute_script(CANVASES)
