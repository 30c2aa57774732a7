"""The page in a real browser: a word is clicked, the picture changes, nothing is fetched, nothing is logged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import lvlm_saliency as ls
from lvlm_saliency.layout import ImageLayout, ImageTile
from lvlm_saliency.report.content import Case, Mark, Report, run_of
from lvlm_saliency.report.falls import falls
from lvlm_saliency.report.html import write_html

from .browser import browser, complaints, open_page, requests, wait_until
from .fabricated import CAPTION, fabricated, layout, picture

LOCAL = ("file:", "data:", "blob:", "chrome:", "chrome-untrusted:")  # the last two are the browser's own empty tab
CANVASES = "return [...document.querySelectorAll('.case canvas')].map((canvas) => canvas.toDataURL())"


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(autouse=True)
def watched(driver):
    """Whatever a test does, the page asks for nothing but itself and complains about nothing."""
    requests(driver), complaints(driver)
    yield
    assert [address for address in requests(driver) if not address.startswith(LOCAL)] == []
    assert complaints(driver) == []


def page(path, traces, words, **options):
    runs = [run_of(trace, words, name=f"run {at}", layouts=[layout()], **options) for at, trace in enumerate(traces)]
    return write_html(path, Report("A page", [Case("A picture", runs, images=[picture()])]))


def words_of(driver):
    return driver.find_elements(By.CSS_SELECTOR, ".answer .word")


def classes(driver, name):
    return [name in word.get_attribute("class").split() for word in words_of(driver)]


def pixel(driver, panel, x, y):
    """Red, green, blue at a point of the panel (0 saliency, 1 attention), as parts of its width and height."""
    return driver.execute_script(
        "const canvas = document.querySelectorAll('.case canvas')[arguments[0]];"
        "const at = [Math.floor(arguments[1] * canvas.width), Math.floor(arguments[2] * canvas.height)];"
        "const one = new OffscreenCanvas(1, 1).getContext('2d');"
        "one.drawImage(canvas, ...at, 1, 1, 0, 0, 1, 1);"
        "return [...one.getImageData(0, 0, 1, 1).data].slice(0, 3)",
        panel,
        x,
        y,
    )


def click_word(driver, at):
    before = driver.execute_script(CANVASES)
    words_of(driver)[at].click()
    wait_until(driver, f"return document.querySelector('.case').dataset.shown.endsWith(':{at}')")
    return before, driver.execute_script(CANVASES)


def test_shipped_model_click_changes_both_pictures(driver, tmp_path):
    model, processor = ls.load_model("scenes")
    image = picture(256, 256)
    inputs = ls.build_inputs(processor, [image], "Describe the image.", model=model)
    sequences = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    trace = ls.trace(model, inputs, sequences)
    layouts = ls.image_layouts(processor, inputs, [[image]], model=model)
    trace.to_html(tmp_path / "page.html", processor=processor, images=[[image]], layouts=layouts)
    open_page(driver, tmp_path / "page.html")
    shown = driver.find_element(By.CSS_SELECTOR, ".answer").text
    assert shown.split() == "".join(trace.tokens(processor)[0]).split()
    before, after = click_word(driver, 5)
    assert len(before) == 2
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_words_are_coloured_and_fall_as_in_python(driver, tmp_path):
    trace, words = fabricated()
    open_page(driver, page(tmp_path / "a.html", [trace], words))
    assert classes(driver, "fall") == falls(trace.scores("output")[0].tolist())
    fills = [word.value_of_css_property("background-color") for word in words_of(driver)]
    assert len(set(fills[1:])) > 20
    driver.find_element(By.CSS_SELECTOR, "#region label:has(input[value=image])").click()
    assert classes(driver, "fall") == falls(trace.scores("image")[0].tolist())
    driver.find_element(By.CSS_SELECTOR, "#measure label:has(input[value=attention])").click()
    driver.execute_script(
        "const view = document.getElementById('view'); view.value = '2'; view.dispatchEvent(new Event('change'))"
    )
    assert classes(driver, "fall") == falls(trace.attention_scores("image", [2])[0].tolist())


def test_strongest_position_is_brightest_at_its_place(driver, tmp_path):
    trace, words = fabricated()
    image = slice(1, 65)
    trace.rows[0, :, 10, image] = 0
    trace.rows[0, :, 10, 1 + 8 * 2 + 5] = 0.7  # third row, sixth column of 8 x 8
    trace.attention[0, :, 10, image] = 0
    trace.attention[0, :, 10, 1 + 8 * 6 + 1] = 0.7
    open_page(driver, page(tmp_path / "a.html", [trace], words))
    click_word(driver, 10)
    spots = [(5.5 / 8, 2.5 / 8), (1.5 / 8, 6.5 / 8)]
    light = np.array([[sum(pixel(driver, panel, *spot)) for spot in spots] for panel in (0, 1)])
    assert light[0, 0] > light[0, 1] + 80
    assert light[1, 1] > light[1, 0] + 80


def test_finer_tiles_replace_the_thumbnail(driver, tmp_path):
    trace, words = fabricated()
    grid = np.arange(1, 65).reshape(8, 8)
    places = ImageLayout(
        width=128,
        height=64,
        tiles=(
            ImageTile(positions=grid[4:, :], box=(0.0, 0.0, 128.0, 64.0), kind="thumbnail"),
            ImageTile(positions=grid[:4, :4], box=(0.0, 0.0, 64.0, 64.0), kind="tile"),
        ),
        extra=grid[:4, 4:].ravel(),
    )
    trace.rows[0, :, 10, 1:65] = 0
    trace.rows[0, :, 10, torch.from_numpy(grid[4:, :].ravel())] = 0.5  # the thumbnail is bright everywhere
    run = run_of(trace, words, layouts=[places])
    path = write_html(tmp_path / "a.html", Report("t", [Case("c", [run], images=[picture(128, 64)])]))
    open_page(driver, path)
    click_word(driver, 10)
    under_tile, outside = sum(pixel(driver, 0, 0.25, 0.9)), sum(pixel(driver, 0, 0.9, 0.9))
    assert outside > under_tile + 80


def test_keyboard_walks_and_lets_go(driver, tmp_path):
    trace, words = fabricated()
    open_page(driver, page(tmp_path / "a.html", [trace], words))
    click_word(driver, 3)
    for key, chosen in ((Keys.ARROW_RIGHT, 4), (Keys.ARROW_RIGHT, 5), (Keys.ARROW_LEFT, 4)):
        ActionChains(driver).send_keys(key).perform()
        assert classes(driver, "chosen").index(True) == chosen
    assert "token 4; the text has 49" in driver.find_element(By.CSS_SELECTOR, ".detail").text
    ActionChains(driver).send_keys(Keys.ESCAPE).perform()
    assert not any(classes(driver, "chosen"))


def test_earlier_words_light_up_as_strongly_as_the_row_says(driver, tmp_path):
    trace, words = fabricated()
    start = trace.prompt_length
    trace.rows[0, :, 20] = 0
    trace.rows[0, :, 20, start + 7] = 0.8
    trace.rows[0, :, 20, start + 12] = 0.2
    open_page(driver, page(tmp_path / "a.html", [trace], words))
    click_word(driver, 20)
    shares = driver.execute_script(
        "const words = [...document.querySelectorAll('.answer .word')];"
        "return words.map((word) => parseFloat(word.style.getPropertyValue('--share')))"
    )
    assert shares[7] == pytest.approx(100, abs=0.5)
    assert shares[12] == pytest.approx(25, abs=0.5)
    assert max(shares[t] for t in range(20) if t not in (7, 12)) == 0
    first = driver.find_element(By.CSS_SELECTOR, ".top tbody tr").text.split()
    assert first[0] == CAPTION[7]
    assert "0.800" in first


def test_several_runs_switch(driver, tmp_path):
    traces = [fabricated(seed=seed)[0] for seed in (0, 1)]
    marks = [Mark(7, 8, "correct"), Mark(10, 11, "hallucinated")]
    open_page(driver, page(tmp_path / "a.html", traces, fabricated()[1], marks=marks))
    assert classes(driver, "hallucinated").index(True) == 10
    driver.find_elements(By.CSS_SELECTOR, ".runs label")[1].click()
    expected = falls(traces[1].scores("output")[0].tolist())
    wait_until(driver, "return document.querySelector('.case').dataset.shown.startsWith('1:')")
    assert classes(driver, "fall") == expected


def test_evil_tokens_are_only_text(driver, tmp_path):
    evil = ["</script>", "<img src=x onerror=alert(1)>", "&amp;", "'\"`${1}", "\u2028", "<!--", "x"]
    trace, words = fabricated(evil)
    open_page(driver, page(tmp_path / "a.html", [trace], words))
    assert [word.text for word in words_of(driver)][:4] == evil[:4]
    click_word(driver, 6)
    assert driver.find_elements(By.CSS_SELECTOR, "img[src=x]") == []


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_sticks_out_at_any_width(driver, tmp_path, width):
    trace, words = fabricated()
    open_page(driver, page(tmp_path / "a.html", [trace, trace, trace, trace], words), width=width)
    click_word(driver, 20)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width


def test_one_word_and_no_picture(driver, tmp_path):
    trace, words = fabricated(["alone"], side=0)
    path = write_html(tmp_path / "a.html", Report("t", [Case("c", [run_of(trace, words)])]))
    open_page(driver, path)
    click_word(driver, 0)
    assert driver.find_elements(By.CSS_SELECTOR, "canvas") == []


def test_prompt_shows_where_pictures_stand(driver, tmp_path):
    trace, words = fabricated()
    first = trace.prompt_length - 6
    trace.regions.prompt[0, first + 3] = False
    trace.regions.image[0, first + 3] = True
    open_page(driver, page(tmp_path / "a.html", [trace], words))
    text = driver.find_element(By.CSS_SELECTOR, ".context").text
    assert text.replace(" ", "") == "<s>picture" + "Describethepicture" + "picture" + "detail."
