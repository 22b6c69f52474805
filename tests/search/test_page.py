# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The page of `collap app` in a real browser: what a person does, by mouse, by keyboard, on a phone."""

import re
import shutil
import threading
import time

import numpy as np
import pytest
import soundfile
import uvicorn
from tiny_library import save_tiny_model, write_tagged

from collap.search.app import make_app
from collap.search.index import SongIndex

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: make browser installs it on Debian"),
]
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

TEXT = "A slow piano. Then drums."
PLAYER = "element => element.currentTime"
TIMEOUT_MS = 30_000  # the machine may be busy


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of a server of five songs, the last one in a format that no browser plays."""
    folder = tmp_path_factory.mktemp("library")
    for number, name in enumerate(("Alpha.mp3", "Beta.flac", "deep/Gamma.ogg", "deep/Delta.wav")):
        write_tagged(folder / "Music" / name, 40.0, number, artist="Anna")
    soundfile.write(folder / "Music" / "Epsilon.aiff", 0.1 * np.sin(np.arange(16_000 * 20) / 8), 16_000)
    index = SongIndex.create(folder / "index", save_tiny_model(folder / "model"))
    index.update([folder / "Music"])
    server = uvicorn.Server(uvicorn.Config(make_app(index), host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join(30)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser):
    """Opens pages; at the end, none may have said an error, or have asked another machine."""
    contexts, faults = [], []

    def note(request) -> None:
        if not re.match(r"http://127\.0\.0\.1:|data:|blob:", request.url):
            faults.append(f"a request to {request.url}")

    def open_page(address: str, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", note)
        page.goto(address)
        page.wait_for_selector(".status:not(:empty)")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def search(page, text: str = TEXT) -> None:
    page.get_by_label("Description").fill(text)
    page.get_by_role("button", name="Search", exact=True).click()
    page.wait_for_selector(".song")


def seconds(clock: str) -> int:
    minutes, rest = clock.split(":")
    return 60 * int(minutes) + int(rest)


def wait_until_it_plays(page) -> float:
    """Waits for sound and returns where it is, in seconds."""
    page.wait_for_function(
        "() => { const a = document.querySelector('audio'); return !a.paused && a.readyState > 2; }"
    )
    return page.locator("audio").evaluate(PLAYER)


def test_search_and_play_a_span(address, new_page):
    page = new_page(address)
    assert page.locator(".status").inner_text() == "5 songs to search."
    search(page)
    assert page.locator(".song").count() == 5
    song = page.locator(".song", has_text="Delta")
    button = song.locator(".times button").last
    start, end = button.inner_text().split("-")
    assert seconds(start) < seconds(end)
    page.evaluate("document.querySelector('audio').playbackRate = 0.0625")  # so that little time passes meanwhile
    button.click()
    exact = song.locator(".span").last.evaluate("span => parseFloat(span.style.left) / 100")
    assert wait_until_it_plays(page) == pytest.approx(exact * 40.0, abs=0.3)
    assert abs(exact * 40.0 - seconds(start)) <= 0.5
    assert song.get_by_role("button", name="Pause Delta").count() == 1
    assert page.locator(".song.current").count() == 1

    other = page.locator(".song", has_text="Alpha")  # one plays at a time
    other.get_by_role("button", name="Play Alpha").click()
    page.wait_for_selector(".song.sounding >> text=Alpha")
    assert page.locator(".song.sounding").count() == 1


def test_a_click_on_waveform_lane_or_span_plays_from_there(address, new_page):
    page = new_page(f"{address}?q={TEXT}")
    song = page.locator(".song", has_text="Beta")
    page.evaluate("document.querySelector('audio').playbackRate = 0.0625")
    for place in (".wave", ".lane"):
        bar = song.locator(place).first
        box = bar.bounding_box()
        song.locator(".span").evaluate_all("spans => spans.forEach(span => span.hidden = true)")
        page.evaluate("document.querySelectorAll('.span').forEach(span => span.style.display = 'none')")
        bar.click(position={"x": box["width"] * 0.75, "y": box["height"] / 2})
        assert wait_until_it_plays(page) == pytest.approx(30.0, abs=0.3)
        page.locator("audio").evaluate("audio => audio.pause()")
    assert song.locator(".wave svg").count() == 2


def test_a_format_that_the_browser_lacks_is_played(address, new_page):
    page = new_page(f"{address}?q={TEXT}")
    page.get_by_role("button", name="Play Epsilon").click()
    wait_until_it_plays(page)
    assert page.locator("audio").evaluate("audio => audio.src").endswith("?mp3")
    assert page.locator("audio").evaluate("audio => audio.duration") == pytest.approx(20.0, abs=0.2)


def test_a_dropped_song_finds_its_neighbours_and_a_text_is_one_sentence(address, new_page, tmp_path):
    page = new_page(address)
    page.locator(".drop input").set_input_files(write_tagged(tmp_path / "mine.mp3", 40.0, 1))
    page.wait_for_selector(".song")
    assert page.locator(".status").inner_text() == "5 of 5 songs like mine.mp3"
    assert page.locator(".heat").count() == 0  # there is no sentence
    assert page.locator(".span").count() == 5
    (tmp_path / "text.mp3").write_text("hello")
    page.locator(".drop input").set_input_files(tmp_path / "text.mp3")
    page.wait_for_selector(".status[role=alert]")
    said = page.locator(".status").inner_text()
    assert "text.mp3: it is no file of audio" in said
    assert "\n" not in said
    assert "/" not in said
    assert "Traceback" not in page.content()
    assert page.locator(".song").count() == 0


def test_the_address_holds_the_query(address, new_page):
    page = new_page(address)
    page.get_by_text("In any order").click()
    page.get_by_role("button", name="Exclude and filter").click()
    page.get_by_label("Artist").fill("anna")
    search(page)
    page.wait_for_function("() => location.search.includes('artist=anna')")
    found = page.locator(".song h3").all_inner_texts()
    assert len(found) == 4

    again = new_page(page.url)
    again.wait_for_selector(".song")
    assert again.get_by_label("Description").input_value() == TEXT
    assert again.get_by_label("In any order").is_checked()
    assert again.get_by_label("Artist").input_value() == "anna"
    assert again.locator(".song h3").all_inner_texts() == found
    again.get_by_role("link", name=f"Songs similar to {found[0]}").click()
    again.wait_for_function("() => document.querySelector('.status')?.textContent.includes('songs like')")
    again.go_back()
    again.wait_for_selector(".times")
    assert again.locator(".song h3").all_inner_texts() == found


def test_a_song_that_another_process_removes_is_gone(address, new_page):
    page = new_page(f"{address}?like={'0' * 32}")
    assert page.locator(".status[role=alert]").inner_text() == "This song is not in the index."


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_scrolling_to_the_side(address, new_page, scheme):
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "color_scheme": scheme}
    page = new_page(f"{address}?q={TEXT}&artist=a", **phone)
    page.wait_for_selector(".wave svg")  # the page has scrolled to its results
    assert 0 <= page.locator(".status").bounding_box()["y"] < 700
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for part in (".lane", ".wave", ".times button", ".play"):
        box = page.locator(part).first.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    page.locator(".times button").first.tap()
    wait_until_it_plays(page)


def test_the_keyboard_alone(address, new_page):
    page = new_page(address)
    press = page.keyboard.press
    page.get_by_label("Description").focus()  # where the page begins
    page.keyboard.type(TEXT)
    press("Enter")
    page.wait_for_selector(".song")

    def tab_to(selector: str) -> None:
        for _ in range(40):
            press("Tab")
            if page.evaluate(f"document.activeElement.matches({selector!r})"):
                return
        raise AssertionError(f"{selector} is not reached by Tab")

    tab_to(".play")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    press("Space")
    wait_until_it_plays(page)
    press("Enter")
    page.wait_for_function("() => document.querySelector('audio').paused")
    tab_to(".wave")
    for _ in range(3):
        press("ArrowRight")
    assert wait_until_it_plays(page) >= 14.9
    assert page.evaluate("document.activeElement.getAttribute('aria-valuetext')").startswith("0:1")
    tab_to(".times button")
    start = page.evaluate("document.activeElement.textContent").split("-")[0]
    press("Enter")
    page.wait_for_timeout(300)
    assert wait_until_it_plays(page) == pytest.approx(seconds(start), abs=3.0)
