"""The page in a real browser: upload, ask, watch, click, compare, label, save. Nothing comes from outside."""

from __future__ import annotations

import json
import time
import zipfile

import httpx
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from lvlm_saliency.scenes import demo_scenes, draw_scene
from lvlm_saliency.studies.label_files import read_labelled
from report.browser import wait_until

from .in_browser import CONTRASTS, ask, choose, downloaded, look, one, words

UNNAMED = """
return [...document.querySelectorAll("button, input, select, textarea, a")].filter((node) => node.checkVisibility()
  && !(node.textContent.trim() || node.getAttribute("aria-label") || node.labels?.length))
  .map((node) => node.outerHTML);
"""


def test_upload_ask_compare_click_label_and_save(page, server, folder, tmp_path, pictures, chat):
    page.execute_script(
        "window.shades = 0; new MutationObserver(() => { window.shades = Math.max(window.shades, "
        "document.querySelectorAll('.live .word[data-fill]').length); })"
        ".observe(document.getElementById('live'), {subtree: true, childList: true});"
    )
    ask(page, tmp_path, pictures, "locore")
    assert page.execute_script("return window.shades") > 3, "words are coloured while the text is written"
    assert [tab.text.splitlines()[0] for tab in page.find_elements(By.CSS_SELECTOR, ".case .runs label")] == [
        "plain",
        "locore",
    ]
    # a word: its heat map and the earlier words
    canvas = "return document.querySelector('.case canvas').toDataURL()"
    before = page.execute_script(canvas)
    at = next(at for at, word in enumerate(words(page)) if at > 4 and word.text.isalpha())
    chosen = words(page)[at]
    choose(page, chosen)
    wait_until(
        page, f"return document.querySelector('.case').dataset.shown === '0:{chosen.get_attribute('data-token')}'"
    )
    assert page.execute_script(canvas) != before
    assert one(page, ".detail h3 .sample").text == chosen.text
    # labels by keyboard, undo, and again
    text = chosen.text
    ActionChains(page).send_keys("h").perform()
    assert "1 word marked in 1 text, 1 hallucinated" in one(page, "#label-count").text
    assert "hallucinated" in words(page)[at].get_attribute("class")
    ActionChains(page).send_keys("u").perform()
    assert one(page, "#label-count").text == "Choose a word and mark it."
    ActionChains(page).send_keys("r").send_keys(Keys.ARROW_RIGHT).send_keys("h").perform()
    page.execute_script("document.querySelector('.steps details').open = true")
    one(page, "#save-labels").click()
    lines = [json.loads(line) for line in downloaded(folder, "labels.jsonl").read_text().splitlines()]
    assert [line["image"] for line in lines] == ["my-picture.png"]
    one(page, "#save-zip").click()
    with zipfile.ZipFile(downloaded(folder, "labels.zip")) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    assert (tmp_path / "labels" / "my-picture.png").read_bytes() == (tmp_path / "my picture.png").read_bytes()
    labelled = read_labelled(tmp_path / "labels" / "labels.jsonl", None, chat.tokenizer)[0]
    spans = [(labelled.text[span.start : span.end], span.hallucinated) for span in labelled.spans]
    assert spans[0] == (text, False)
    assert all(word in labelled.text for word, _ in spans)
    # the report as a file of its own
    link = one(page, ".case .share").get_attribute("href")
    report = httpx.get(link).text
    assert "default-src 'none'" in report
    assert report.count('"name":"plain"') == report.count('"name":"locore"') == 0, (
        "names are those of the server's reports"
    )


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_letters_can_be_read_and_nothing_overflows(page, server, tmp_path, pictures, width, height):
    for scheme in ("light", "dark"):
        look(page, width, height, scheme)
        time.sleep(0.3)  # colours change slowly
        if not words(page):
            assert page.execute_script(CONTRASTS) == []
            ask(page, tmp_path, pictures)
        assert page.execute_script(CONTRASTS) == [], scheme
        assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        choose(page, words(page)[3])
        time.sleep(0.3)
        assert page.execute_script(CONTRASTS) == [], f"{scheme}, chosen"
        choose(page, words(page)[3])


def test_samples_stop_and_problems(page):
    one(page, "#go").click()
    wait_until(page, "return !document.getElementById('problem').hidden")
    assert "Choose a picture" in one(page, "#problem").text
    page.find_elements(By.CSS_SELECTOR, "#samples button")[2].click()
    assert len(page.find_elements(By.CSS_SELECTOR, "#thumbs li")) == 1
    one(page, "#thumbs button").click()
    assert page.find_elements(By.CSS_SELECTOR, "#thumbs li") == []
    page.find_elements(By.CSS_SELECTOR, "#samples button")[0].click()
    page.execute_script(
        "document.getElementById('max').value = 900; document.querySelector('#ways input[value=vcd]').click()"
    )
    one(page, "#go").click()
    assert one(page, "#problem").is_displayed() is False
    one(page, "#halt").click()
    wait_until(page, "return !document.getElementById('go').disabled")


def test_many_pictures_take_little_room_and_go_at_once(page, tmp_path, pictures):
    files = [tmp_path / f"{number}.png" for number in range(20)]
    for number, file in enumerate(files):
        pictures[0].rotate(number).save(file)
    one(page, "#file").send_keys("\n".join(map(str, files)))
    wait_until(page, "return document.querySelectorAll('#thumbs img').length === 20")
    assert one(page, "#thumbs").size["height"] < 400
    one(page, "#thumbs li:nth-child(3) button").send_keys(Keys.ENTER)
    assert len(page.find_elements(By.CSS_SELECTOR, "#thumbs li")) == 19
    assert page.execute_script("return document.activeElement.getAttribute('aria-label')") == "Remove 3.png"
    one(page, "#remove-all").click()
    assert page.find_elements(By.CSS_SELECTOR, "#thumbs li") == []
    assert not one(page, "#several").is_displayed()


def test_every_control_has_a_name(page, tmp_path, pictures):
    ask(page, tmp_path, pictures)
    unnamed = page.execute_script(UNNAMED)
    assert unnamed == []
    for css in ("#problem[role=alert]", "#state[role=status]", "#label-count[role=status]", "main", "h1"):
        assert one(page, css) is not None


def test_policy_forbids_everything_from_outside(server):
    answer = httpx.get(f"{server.url}/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe-inline' 'nonce" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in answer.text


def test_one_page_is_built_of_the_reports_own_files():
    from importlib import resources

    own = [file.name for file in resources.files("lvlm_saliency.serve").joinpath("static").iterdir()]
    assert sorted(own) == ["calibrate.js", "files.js", "labels.js", "live.js", "pictures.js", "play.css", "play.js"]
    text = "".join(resources.files("lvlm_saliency.serve").joinpath("static", name).read_text() for name in own)
    for name in ("class TextView", "class PictureView", "class Run ", "function heatColour"):
        assert name not in text, f"{name} belongs to the report"


def test_a_guards_rewriting_is_shown_as_it_happens(page, tmp_path):
    page.execute_script(
        "window.drafts = []; window.fixed = []; new MutationObserver(() => {"
        "const live = document.querySelector('#live article'); if (!live) return;"
        "const text = (css) => [...live.querySelectorAll(css)].map((node) => node.textContent).join(' ');"
        "window.drafts.push(text('.draft'));"
        "const answer = live.querySelector('.answer').textContent;"
        "window.fixed.push(answer.slice(0, answer.length - text('.draft').length));"
        "window.logged = text('.guard .taken s'); window.instead = text('.guard .instead'); })"
        ".observe(document.getElementById('live'), {subtree: true, childList: true, characterData: true});"
        "document.querySelector('.more').open = true"
    )
    file = tmp_path / "beach.png"
    draw_scene(demo_scenes(6)[5]).save(file)
    one(page, "#file").send_keys(str(file))
    for way in ("plain", "guard"):
        one(page, f"#ways input[value={way}]").send_keys(Keys.SPACE)
    one(page, "#prompt").send_keys(Keys.CONTROL, Keys.ENTER)
    wait_until(page, "return document.querySelector('.case')?.dataset.shown !== undefined", 120)
    drafts, fixed = page.execute_script("return [window.drafts, window.fixed]")
    assert len(set(drafts)) > 20, "words are seen while their sentence may still be taken back"
    assert "boat" in page.execute_script("return window.logged")
    assert page.execute_script("return window.instead").startswith("written instead: ")
    text = one(page, ".case .answer").text
    flat = " ".join(text.split())
    for before in fixed:
        assert flat.startswith(" ".join(before.split())), "what is settled never changes"
    taken = one(page, ".case .guard")
    assert "boat" in taken.text
    assert "written instead" in taken.text
    assert "boat" not in text
