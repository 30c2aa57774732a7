"""The page in a real browser: a word is clicked, the picture changes, nothing is fetched, nothing is logged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import lvlm_saliency as ls
from lvlm_saliency.evaluation.summary.build import Report as Summary
from lvlm_saliency.evaluation.summary.content import Section
from lvlm_saliency.evaluation.summary.page import html
from lvlm_saliency.model.layout import ImageLayout, ImageTile
from lvlm_saliency.pages import svg
from lvlm_saliency.pages.tables import Cell
from lvlm_saliency.pages.tables import Table as SummaryTable
from lvlm_saliency.report.content import Case, Mark, Report, Table, run_of
from lvlm_saliency.report.falls import falls
from lvlm_saliency.report.html import write_html

from .browser import classes, click_word, of_words, open_page, wait_until, words_of
from .fabricated import CAPTION, fabricated, layout, page, picture


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
    shares = of_words(driver, "parseFloat(word.style.getPropertyValue('--share'))")
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


def test_a_cut_text_is_marked_and_explained(driver, tmp_path):
    trace, words = fabricated()
    open_page(driver, page(tmp_path / "a.html", [trace], words, cut=True))
    assert driver.find_element(By.CSS_SELECTOR, ".answer").text.endswith("[cut]")
    assert "limit on new tokens" in driver.find_element(By.CSS_SELECTOR, ".legend").text
    open_page(driver, page(tmp_path / "b.html", [trace], words))
    assert "[cut]" not in driver.find_element(By.TAG_NAME, "body").text


def test_pictures_come_before_tables(driver, tmp_path):
    trace, words = fabricated()
    case = Case("A picture", [run_of(trace, words, layouts=[layout()])], images=[picture()])
    table = Table("Sums", ["", "a"], [["row", "1"]])
    open_page(driver, write_html(tmp_path / "a.html", Report("A page", [case], tables=[table])))
    tops = driver.execute_script(
        "return ['.case canvas', '.tables'].map((name) => document.querySelector(name).getBoundingClientRect().top)"
    )
    assert tops[0] < tops[1]


@pytest.mark.parametrize("width", [390, 1000, 1280])
def test_summary_of_a_run_is_not_clipped(driver, tmp_path, width):
    long = "sgrs:alpha=0.9,order=greedy,layers=4-6+9+locore:beta=0.2"
    marks = [[svg.Mark(1.0, 0.5, 2.0)], [svg.Mark(-1.0, -2.0, 0.5)]]
    plots = (
        svg.forest("t", ["sample", long], [(name, marks) for name in ("CHAIR_s", "CHAIR_i", "recall", "length")]),
        svg.scatter("t", "x", "y", [svg.Point(long, (9, 9, 9), (1, 2, 3)), svg.Point("b", (1, 1, 1), (2, 2, 2))]),
        svg.bars("t", "ms", [(long, 3.0), ("b", 1.0)]),
    )
    head = ("system", *(f"figure {n}" for n in range(13)))
    rows = tuple((Cell(name), *(Cell("100.0", "[-100.0, +100.0]") for _ in head[1:])) for name in ("greedy", long))
    section = Section("scenes-caption", "8 items.", (SummaryTable("t", head, rows),), plots=plots)
    path = tmp_path / "summary.html"
    path.write_text(html(Summary("A run", "lead", (section,), ())))
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(path.resolve().as_uri())
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    outside = driver.execute_script(
        "return [...document.querySelectorAll('td, td small, svg text')].filter((node) => {"
        "const box = node.getBoundingClientRect(); return box.right > innerWidth || box.left < 0}).length"
    )
    assert outside == 0
    letters = driver.execute_script(
        "return [...document.querySelectorAll('.panels svg .panel')].map((n) => n.getBoundingClientRect().height)"
    )
    assert min(letters) >= 9
