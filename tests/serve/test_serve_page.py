"""The page in a real browser, offline: teach, ask, watch, record; by mouse and keys, on desk and phone."""

import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import uvicorn
from plain import colour_frames, fresh
from running import free_port

from openfsar.serve import create_app
from openfsar.video import write_video

playwright = pytest.importorskip("playwright.sync_api", reason="UNTESTED PAGE: playwright is missing")
Browser, Page, expect = playwright.Browser, playwright.Page, playwright.expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    *("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
]
PLAYER = "document.querySelector('#timeline video')"
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="UNTESTED PAGE: no browser; apt-get install chromium"),
]


@contextmanager
def serving(folder: Path, *, token: str | None = None, reject: float | None = None) -> Iterator[str]:
    """The address of a service with an empty model, in a thread."""
    app = create_app(fresh(reject=reject), folder / "model", token=token)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@contextmanager
def opened(browser: "Browser", url: str, *, faults: int = 0, **options) -> Iterator["Page"]:
    """The page at an address. Fails on any error in it and on any request to another host.

    Args:
        faults: refusals of the server that are meant to happen; a browser calls each an error.
    """
    host = re.match(r"http://[^/]+", url)[0]
    context = browser.new_context(**options)
    strangers: list[str] = []
    errors: list[str] = []

    def check(route) -> None:
        address = route.request.url
        if address.startswith((host, "blob:", "data:")):
            route.continue_()
        else:
            strangers.append(address)
            route.abort()

    context.route("**/*", check)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(url)
    yield page
    context.close()
    assert strangers == [] and len(errors) == faults, errors


def teach(page: "Page", label: str, *clips: Path) -> None:
    page.get_by_label("New action").fill(label)
    page.get_by_role("button", name="Add action").click()
    card = page.get_by_role("article", name=f"Action {label}")
    card.locator("input[type=file]").first.set_input_files(list(clips))
    expect(card.get_by_role("img")).to_have_count(len(clips))


@pytest.fixture
def taught(browser: "Browser", tmp_path: Path, plain_clips: Path) -> Iterator[str]:
    """The address of a service that has been taught red and blue by three clips each, in the browser."""
    with serving(tmp_path) as url:
        with opened(browser, url) as page:
            for name in ("red", "blue"):
                teach(page, name, *[plain_clips / f"{name}{i}.mp4" for i in range(3)])
            expect(page.locator("#about")).to_have_text("protonet on tiny · 2 actions · 6 examples")
        yield url


def test_two_actions_are_taught_a_clip_is_named_and_all_is_there_after_a_reload(
    browser: "Browser", taught: str, plain_clips: Path
) -> None:
    with opened(browser, taught) as page:
        for name in ("blue", "red"):
            page.locator("#clip-drop input").first.set_input_files(plain_clips / f"{name}3.mp4")
            answer = page.get_by_role("article", name=f"{name}3.mp4")
            expect(answer.locator(".label")).to_have_text(name)
            expect(answer.locator(".bars li").first).to_contain_text(name)
            answer.get_by_text("Why?").click()
            expect(answer.locator("rect.cell")).to_have_count(16)  # four frames by four
            steps = answer.locator("polyline.path").get_attribute("points").split()
            assert len(steps) >= 4
            expect(answer.get_by_role("img", name="Frames of your clip")).to_be_visible()
            page.reload()
            expect(page.get_by_role("article", name="Action red").get_by_role("img")).to_have_count(3)
        page.wait_for_function("() => [...document.querySelectorAll('.flip')].every(f => f.style.cssText)")
        expect(page.locator("#quality")).to_contain_text("6 of 6 examples are named rightly")


def test_what_is_none_of_these_is_shown_as_such(
    browser: "Browser", tmp_path: Path, plain_clips: Path
) -> None:
    with serving(tmp_path, reject=0.75) as url, opened(browser, url) as page:
        teach(page, "red", plain_clips / "red0.mp4", plain_clips / "red1.mp4")
        teach(page, "blue", plain_clips / "blue0.mp4")
        expect(page.locator("#quality")).to_contain_text("With two clips each")
        blue = page.get_by_role("article", name="Action blue")
        blue.locator("input[type=file]").first.set_input_files(plain_clips / "blue1.mp4")
        expect(page.locator("#quality")).to_contain_text("4 of 4 examples are named rightly")
        page.locator("#clip-drop input").first.set_input_files(plain_clips / "green0.mp4")
        answer = page.get_by_role("article", name="green0.mp4")
        expect(answer.locator(".label")).to_have_text("None of these")
        expect(answer.locator(".bars.unsure li")).to_have_count(2)


def test_examples_and_actions_are_deleted_after_a_question(browser: "Browser", taught: str) -> None:
    with opened(browser, taught) as page:
        delete = page.get_by_role("button", name="Delete example 2 of red, red1.mp4")
        delete.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_contain_text("red1.mp4")
        page.get_by_role("button", name="Keep").click()
        red = page.get_by_role("article", name="Action red")
        expect(red.get_by_role("img")).to_have_count(3)
        delete.focus()
        page.keyboard.press("Enter")
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(red.get_by_role("img")).to_have_count(2)
        page.get_by_role("button", name="Delete action red").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(red).to_have_count(0)
        expect(page.locator("#clip-drop p")).to_contain_text("Teach one more action")


def test_errors_are_said_in_words(browser: "Browser", taught: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes.mp4"
    notes.write_text("no video")
    with opened(browser, taught, faults=2) as page:
        page.locator("#clip-drop input").first.set_input_files(notes)
        notice = page.get_by_role("alert").locator(".notice")
        expect(notice).to_contain_text("The video cannot be read")
        expect(notice).to_contain_text("notes.mp4 cannot be decoded")
        expect(notice).to_contain_text("Try this:")
        expect(page.locator(".answer")).to_have_count(0)
        page.get_by_role("button", name="Close this message").click()
        expect(notice).to_have_count(0)
        red = page.get_by_role("article", name="Action red")
        red.locator("input[type=file]").first.set_input_files(notes)
        expect(notice).to_have_count(1)
        expect(red.get_by_role("img")).to_have_count(3)


def test_a_long_video_is_cut_into_segments_that_can_be_played(
    browser: "Browser", taught: str, tmp_path: Path
) -> None:
    frames = [colour_frames(name, seed=i, length=40) for i, name in enumerate(("red", "blue", "red"))]
    write_video(tmp_path / "long.mp4", torch.cat(frames), fps=10.0)
    with opened(browser, taught) as page:
        page.get_by_role("tab", name="A clip").focus()
        page.keyboard.press("ArrowRight")
        page.get_by_label("An action lasts about").select_option("1")
        page.locator("#long-drop input").first.set_input_files(tmp_path / "long.mp4")
        rows = page.get_by_role("list", name="What happens when").get_by_role("button")
        expect(rows).to_have_count(3)
        assert [text.split("0:")[0] for text in rows.all_text_contents()] == ["red", "blue", "red"]
        expect(page.locator(".block")).to_have_count(3)
        expect(page.locator(".curve")).to_have_count(2)
        video = page.locator("#timeline video")
        video.evaluate("video => { video.muted = true; }")
        rows.nth(1).click()
        page.wait_for_function(f"() => {PLAYER}.currentTime > 3.4")
        video.evaluate("video => video.pause()")
        head = page.get_by_role("slider", name="Position in the video")
        box = head.bounding_box()
        page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + box["height"] / 2)
        page.wait_for_function(f"() => Math.abs({PLAYER}.currentTime - 9) < 0.2")
        expect(rows.nth(2).locator("..")).to_have_class(re.compile("now"))
        head.focus()
        page.keyboard.press("Home")
        page.wait_for_function(f"() => {PLAYER}.currentTime === 0")
        page.get_by_label("How sure a segment must be").fill("0.95")
        expect(page.locator(".sure")).to_contain_text("95 %")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download as Subtitles").click()
        assert download.value.suggested_filename == "long.vtt"
        assert Path(download.value.path()).read_text().startswith("WEBVTT")


def test_a_clip_is_recorded_with_the_camera(browser: "Browser", taught: str) -> None:
    with opened(browser, taught) as page:
        page.get_by_role("button", name="Record clips of blue").click()
        page.get_by_label("Length").select_option("2")
        page.get_by_role("button", name="Record", exact=True).click()
        expect(page.locator("#recorder-text")).to_have_text("1 clip recorded.")
        page.get_by_role("button", name="Done").click()
        blue = page.get_by_role("article", name="Action blue").get_by_role("img")
        expect(blue).to_have_count(4)
        expect(blue.last).to_have_attribute("title", re.compile(r"camera-\d{6}-1\.(webm|mp4)"))


def test_a_token_is_asked_for_until_it_is_right_or_comes_with_the_link(
    browser: "Browser", tmp_path: Path
) -> None:
    with serving(tmp_path, token="sesame") as url:
        with opened(browser, url, faults=4) as page:  # two requests, twice refused
            for word in ("barley", "sesame"):
                page.locator("#token-word").fill(word)
                page.get_by_role("button", name="Enter").click()
            expect(page.locator("#about")).to_have_text("protonet on tiny · 0 actions · 0 examples")
        with opened(browser, f"{url}/#token=sesame") as page:
            expect(page.locator("#about")).to_contain_text("0 actions")
            assert "sesame" not in page.url


UNNAMED = """() => [...document.querySelectorAll('button, input:not([hidden]), select, video, svg[role]')]
    .filter(node => node.checkVisibility())
    .filter(node => !(node.getAttribute('aria-label') || node.textContent.trim() || node.labels?.length))
    .map(node => node.outerHTML)"""
SMALL = """() => [...document.querySelectorAll('button, select, summary, a')]
    .filter(node => node.checkVisibility() && !node.closest('.skip'))
    .map(node => [node.outerHTML, node.getBoundingClientRect()])
    .filter(([_, box]) => box.width < 24 || box.height < 24).map(([html]) => html)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_by_day_and_by_night(
    browser: "Browser", taught: str, plain_clips: Path, scheme: str
) -> None:
    with opened(browser, taught, color_scheme=scheme, **PHONE) as page:
        page.locator("#clip-drop input").first.set_input_files(plain_clips / "blue3.mp4")
        page.get_by_role("article", name="blue3.mp4").get_by_text("Why?").tap()
        expect(page.locator(".alignment")).to_be_visible()
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
        assert page.evaluate(UNNAMED) == [] and page.evaluate(SMALL) == []
        shade = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        darkness = sum(map(int, re.findall(r"\d+", shade)[:3]))
        assert (darkness < 150) if scheme == "dark" else (darkness > 600)
        page.get_by_role("link", name="Ask", exact=True).tap()
        expect(page.get_by_role("heading", name="Ask")).to_be_in_viewport()


def test_the_keyboard_alone_is_enough_to_name_an_action(browser: "Browser", tmp_path: Path) -> None:
    with serving(tmp_path) as url, opened(browser, url) as page:
        expect(page.locator("#about")).to_contain_text("0 actions")
        for _ in range(8):
            page.keyboard.press("Tab")
            if page.evaluate("() => document.activeElement.id") == "new-name":
                break
        page.keyboard.type("pour <b>water</b>")  # and what looks like markup is none
        page.keyboard.press("Enter")
        card = page.get_by_role("article", name="Action pour <b>water</b>")
        expect(card.get_by_role("heading")).to_have_text("pour <b>water</b>")
        expect(card.get_by_role("button", name="Add clips to pour <b>water</b>")).to_be_focused()
