"""The colours of words in a real browser: as in Python, by risk, by detectors; every letter can be read on them."""

from __future__ import annotations

import pytest
import torch
from selenium.webdriver.common.by import By

from lvlm_saliency.report.content import Case, Report, run_of
from lvlm_saliency.report.falls import falls
from lvlm_saliency.report.html import write_html

from .browser import classes, click_word, of_words, open_page, words_of
from .fabricated import fabricated, page


def fills(driver):
    return of_words(driver, "getComputedStyle(word).backgroundColor")


def test_words_are_coloured_and_fall_as_in_python(driver, tmp_path):
    trace, words = fabricated()
    open_page(driver, page(tmp_path / "a.html", [trace], words))
    assert classes(driver, "fall") == falls(trace.scores("output")[0].tolist())
    assert len(set(fills(driver)[1:])) > 20
    driver.find_element(By.CSS_SELECTOR, "#region label:has(input[value=image])").click()
    assert classes(driver, "fall") == falls(trace.scores("image")[0].tolist())
    driver.find_element(By.CSS_SELECTOR, "#measure label:has(input[value=attention])").click()
    driver.execute_script(
        "const view = document.getElementById('view'); view.value = '2'; view.dispatchEvent(new Event('change'))"
    )
    assert classes(driver, "fall") == falls(trace.attention_scores("image", [2])[0].tolist())


CONTRASTS = """
const channels = (text) => text.match(/[\\d.]+/g).map(Number);
const light = (rgb) => {
  const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const [r, g, b] = rgb.slice(0, 3).map((c) => linear(c / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (node) => {
  for (; node; node = node.parentElement) {
    const found = channels(getComputedStyle(node).backgroundColor);
    if (found.length < 4 || found[3] > 0) return found;
  }
};
return [...document.querySelectorAll('.answer .word, .context .given')].map((word) => {
  const [a, b] = [light(channels(getComputedStyle(word).color)), light(ground(word))];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) * Number(getComputedStyle(word).opacity);
});
"""


def emulate(driver, scheme):
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_can_be_read_in_every_colouring(driver, tmp_path, scheme):
    trace, words = fabricated([f"w{n}" for n in range(140)])
    trace.rows[0, :, 139] = 0
    trace.rows[0, :, 139, trace.prompt_length : trace.prompt_length + 139] = torch.linspace(0, 1, 139)
    risk = [n / 139 if n % 3 else float("nan") for n in range(140)]
    path = page(tmp_path / "a.html", [trace], words, risk=risk)
    emulate(driver, scheme)
    try:
        open_page(driver, path)
        found = {"risk": driver.execute_script(CONTRASTS)}
        for region in ("output", "previous", "image", "prompt", "prompt+output"):
            driver.find_element(By.CSS_SELECTOR, f"#region label:has(input[value='{region}'])").click()
            found[region] = driver.execute_script(CONTRASTS)
        for chosen in (60, 139):
            click_word(driver, chosen)
            found[f"row {chosen}"] = driver.execute_script(CONTRASTS)
        assert len(set(fills(driver))) > 90  # the last row walks through the whole scale
        assert {name: min(ratios) for name, ratios in found.items() if min(ratios) < 4.5} == {}
    finally:
        emulate(driver, "light")


def test_page_with_risk_opens_coloured_by_it_and_can_be_toggled(driver, tmp_path):
    trace, words = fabricated()
    risk = [float("nan")] * 49
    risk[7], risk[10] = 0.05, 0.95
    open_page(driver, page(tmp_path / "a.html", [trace], words, risk=risk))
    shown = of_words(driver, "word.dataset.fill")
    assert [t for t, kind in enumerate(shown) if kind == "risk"] == [7, 10]
    assert not any(classes(driver, "fall"))
    assert "risk that the object is not there" in driver.find_element(By.CSS_SELECTOR, ".legend").text
    grounds = fills(driver)
    assert grounds[7] != grounds[10]
    driver.find_element(By.CSS_SELECTOR, "#colour label:has(input[value=hold])").click()
    assert set(of_words(driver, "word.dataset.fill")[1:]) == {"score"}
    assert classes(driver, "fall") == falls(trace.scores("output")[0].tolist())
    driver.find_element(By.CSS_SELECTOR, "#colour label:has(input[value=risk])").click()
    assert of_words(driver, "word.dataset.fill") == shown
    driver.find_element(By.CSS_SELECTOR, "#region label:has(input[value=image])").click()
    assert classes(driver, "fall") == falls(trace.scores("image")[0].tolist())
    assert not driver.find_element(By.CSS_SELECTOR, "#colour input[value=risk]").is_selected()


def test_page_without_risk_offers_none(driver, tmp_path):
    trace, words = fabricated()
    open_page(driver, page(tmp_path / "a.html", [trace], words))
    assert not driver.find_element(By.ID, "colour").is_displayed()


def test_a_text_without_a_risk_says_by_what_it_is_coloured_instead(driver, tmp_path):
    trace, words = fabricated()
    risk = [0.5 if t == 7 else float("nan") for t in range(49)]
    runs = [run_of(trace, words, name="greedy"), run_of(trace, words, name="guard", risk=risk)]
    open_page(driver, write_html(tmp_path / "a.html", Report("t", [Case("c", runs)])))
    instead = "no risk is known of this text: coloured by what words depend on"
    assert instead in driver.find_element(By.CSS_SELECTOR, ".legend").text
    driver.find_element(By.CSS_SELECTOR, "#colour label:has(input[value=hold])").click()
    assert instead not in driver.find_element(By.CSS_SELECTOR, ".legend").text


def test_page_with_detectors_opens_coloured_by_the_first_and_offers_all(driver, tmp_path):
    trace, words = fabricated()
    nan = float("nan")
    risk, svar, ads = [nan] * 49, [nan] * 49, [nan] * 49
    risk[7], svar[7:9], svar[10], svar[12], ads[20] = 0.05, [-2.0, -2.0], 3.0, 0.5, 7.0
    open_page(driver, page(tmp_path / "a.html", [trace], words, risk=risk, detectors={"svar": svar, "ads": ads}))
    kinds = "word.dataset.fill"
    filled = [t for t, kind in enumerate(of_words(driver, kinds)) if kind == "risk"]
    assert filled == [7, 8, 10, 12]
    found = of_words(driver, "word.style.getPropertyValue('--share')")
    assert [found[t] for t in filled] == ["0.0%", "0.0%", "100.0%", "50.0%"]
    legend = driver.find_element(By.CSS_SELECTOR, ".legend").text
    assert "svar: \u22122.000" in legend
    assert "3.000: more likely hallucinated" in legend
    assert "svar 3.000" in words_of(driver)[10].get_attribute("title")
    driver.find_element(By.CSS_SELECTOR, "#colour label:has(input[value='detector:ads'])").click()
    assert [t for t, kind in enumerate(of_words(driver, kinds)) if kind == "risk"] == [20]
    driver.find_element(By.CSS_SELECTOR, "#colour label:has(input[value=risk])").click()
    assert [t for t, kind in enumerate(of_words(driver, kinds)) if kind == "risk"] == [7]
    assert "risk that the object is not there" in driver.find_element(By.CSS_SELECTOR, ".legend").text
    driver.find_element(By.CSS_SELECTOR, "#colour label:has(input[value=hold])").click()
    assert set(of_words(driver, kinds)[1:]) == {"score"}
    click_word(driver, 10)
    facts = driver.find_element(By.CSS_SELECTOR, ".facts").text
    assert "svar" in facts
    assert "3.000" in facts
