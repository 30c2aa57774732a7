"""The page in a browser as its tests use it: how it looks, what is asked, chosen, saved; which letters are faint."""

from __future__ import annotations

import time

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from report.browser import wait_until

LOCAL = ("data:", "blob:", "chrome:", "chrome-untrusted:")
CONTRASTS = """
const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const parse = (text) => {
  const numbers = text.match(/[\\d.]+/g).map(Number);
  return text.startsWith("color(") ? numbers : [...numbers.slice(0, 3).map((c) => c / 255), ...numbers.slice(3)];
};
const ground = (node) => {
  for (; node; node = node.parentElement) {
    const [r, g, b, a = 1] = parse(getComputedStyle(node).backgroundColor);
    if (a > 0.9) return [r, g, b];
  }
  return [1, 1, 1];
};
const found = [];
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  if (!own || !node.checkVisibility() || node.closest("svg, script, style, .stack, :disabled")) continue;
  const [high, low] = [luminance(parse(getComputedStyle(node).color)), luminance(ground(node))].sort((a, b) => b - a);
  const ratio = (high + 0.05) / (low + 0.05);
  if (ratio < 4.5) found.push([node.className || node.tagName, node.textContent.trim().slice(0, 30), ratio.toFixed(2)]);
}
return found;
"""


def look(driver, width, height, scheme):
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def one(driver, css):
    return driver.find_element(By.CSS_SELECTOR, css)


def choose(driver, word):
    """Click a word where no bar lies over it."""
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", word)
    word.click()


def words(driver):
    return driver.find_elements(By.CSS_SELECTOR, ".case .answer .word")


def ask(driver, tmp_path, pictures, *ways):
    file = tmp_path / "my picture.png"
    pictures[0].save(file)
    one(driver, "#file").send_keys(str(file))
    wait_until(driver, "return document.querySelectorAll('#thumbs img').length === 1")
    driver.execute_script("document.getElementById('max').value = 24; document.querySelector('.more').open = true")
    for way in ways:
        one(driver, f"#ways input[value={way}]").send_keys(Keys.SPACE)
    one(driver, "#prompt").send_keys(Keys.CONTROL, Keys.ENTER)
    wait_until(driver, "return document.querySelector('.case .answer .word') !== null", 120)
    wait_until(driver, "return document.querySelector('.case').dataset.shown !== undefined")


def downloaded(folder, name):
    end = time.monotonic() + 20
    while not (folder / name).exists():
        assert time.monotonic() < end, f"{name} was never saved"
        time.sleep(0.05)
    return folder / name
