"""The page of a server that calibrates, in a real browser: from labelled pictures to a guard, and what is refused."""

from __future__ import annotations

import zipfile

import pytest
from selenium.webdriver.common.action_chains import ActionChains

from lvlm_saliency.scenes import draw_scene, generate_scenes
from lvlm_saliency.scenes.classes import PLURALS
from report.browser import complaints, requests, wait_until

from .conftest import running
from .in_browser import CONTRASTS, LOCAL, ask, choose, downloaded, look, one, words

NAMES = set(PLURALS)


@pytest.fixture
def calibrating(driver, chat, tmp_path):
    """The page of a server that calibrates."""
    with running(chat, calibrations=tmp_path / "guards") as server:
        look(driver, 1280, 900, "light")
        driver.get(f"{server.url}/")
        wait_until(driver, "return document.body.dataset.ready === 'true'")
        yield driver
        assert [url for url in requests(driver) if not url.startswith((*LOCAL, server.url))] == []
        # A refusal that a test provokes is told on the console as well.
        assert [line for line in complaints(driver) if "status of 400" not in line] == []


def test_a_calibration_that_cannot_be_is_refused_in_a_line(calibrating, tmp_path, pictures):
    page = calibrating
    ask(page, tmp_path, pictures)
    page.execute_script("document.querySelector('.steps details').open = true")
    assert one(page, "#calibrate").get_attribute("disabled")
    choose(page, words(page)[4])
    ActionChains(page).send_keys("h").perform()
    assert one(page, "#labelled-count").text == "1 picture labelled"
    one(page, "#calibrate").click()
    wait_until(page, "return !document.getElementById('problem').hidden")
    assert "1 labelled pictures: too few (at least 40" in one(page, "#problem").text
    wait_until(page, "return !document.getElementById('calibrate').disabled")
    assert not one(page, "#calibrating").is_displayed()
    assert page.execute_script(CONTRASTS) == []


def test_no_calibration_is_offered_where_there_is_none(page, tmp_path, pictures):
    ask(page, tmp_path, pictures)
    page.execute_script("document.querySelector('.steps details').open = true")
    assert not one(page, "#calibrate-here").is_displayed()
    assert "guard calibrate" in one(page, "#commands").text


@pytest.mark.slow
def test_from_pictures_to_a_calibrated_guard_without_leaving_the_page(calibrating, tmp_path, folder):
    page, scenes = calibrating, generate_scenes(42, 4711)
    files = []
    for number, scene in enumerate(scenes):
        files.append(tmp_path / f"own-{number}.png")
        draw_scene(scene).save(files[-1])
    one(page, "#file").send_keys("\n".join(map(str, files)))
    wait_until(page, f"return document.querySelectorAll('#thumbs img').length === {len(files)}")
    assert one(page, "#apart").is_selected(), "more than a question may hold are asked about one by one"
    page.execute_script("document.getElementById('max').value = 16; document.querySelector('.more').open = true")
    one(page, "#go").click()
    wait_until(page, "return /^picture 3 of 42/.test(document.getElementById('state').textContent)", 600)
    wait_until(page, f"return document.querySelectorAll('.case').length === {len(files)}", 1200)
    wait_until(page, "return !document.getElementById('go').disabled")
    there = {file.name: {one.name for one in scene.objects} for file, scene in zip(files, scenes, strict=True)}
    page.execute_script("document.querySelector('.steps details').open = true; document.activeElement.blur()")
    for _ in files:
        ActionChains(page).send_keys("n").perform()
        name, found = page.execute_script(
            "const at = document.querySelector('.word[tabindex=\"0\"].chosen, .word.chosen')?.closest('.case');"
            "return [at.querySelector('h2').textContent.split(':')[0],"
            " [...at.querySelectorAll('.answer .word')].map((word) => [Number(word.dataset.token), word.textContent])]"
        )
        for token, word in found:
            if word.strip(".,").lower() in NAMES:
                page.execute_script(
                    "document.querySelectorAll('.case').forEach((node) => { if"
                    " (node.querySelector('h2').textContent.startsWith(arguments[0] + ':'))"
                    ' node.querySelector(`.answer .word[data-token="${arguments[1]}"]:not(.chosen)`)?.click(); })',
                    name,
                    token,
                )
                ActionChains(page).send_keys("r" if word.strip(".,").lower() in there[name] else "h").perform()
    assert int(one(page, "#labelled-count").text.split()[0]) >= 40
    loss = one(page, "#recall-loss")
    loss.clear()
    loss.send_keys("10")
    page.execute_script(
        "window.stages = new Set(); new MutationObserver(() => window.stages.add("
        "document.getElementById('calibrate-state').textContent))"
        ".observe(document.getElementById('calibrate-state'), {childList: true})"
    )
    one(page, "#calibrate").click()
    wait_until(page, "return document.getElementById('guard-made').textContent", 900)
    assert "guard-1 is ready" in one(page, "#guard-made").text
    assert any("questions" in stage for stage in page.execute_script("return [...window.stages]"))
    assert one(page, "#ways input[value=guard-1]").is_selected()
    one(page, "#guard-made button").click()
    with zipfile.ZipFile(downloaded(folder, "guard-1.zip")) as archive:
        assert "guard-1/guard.yaml" in archive.namelist()
    page.execute_script("document.querySelector('#ways input[value=plain]').click()")
    one(page, "#remove-all").click()
    one(page, "#file").send_keys(str(files[0]))
    wait_until(page, "return document.querySelectorAll('#thumbs img').length === 1")
    one(page, "#go").click()
    wait_until(page, f"return document.querySelectorAll('.case').length === {len(files) + 1}", 600)
    assert one(page, "#problem").is_displayed() is False
