"""`trainer-cli report`: the pages that are written, and what a browser makes of them."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from long_run import long_run
from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from trainer_cli.config.errors import UserError
from trainer_cli.report.page import MOST_RUNS, write_report

EVIL = "</script></pre><script>document.title = 'broken out'</script><img src=x onerror=alert(1)>&\"'"


def page(*words: str | Path) -> str:
    return write_report([str(word) for word in words], None).read_text()


def sweep(root: Path, rates: list[float], seeds: list[int], rows: int = 200) -> Path:
    """A sweep over learning rates and seeds, whose last job failed."""
    jobs = []
    for number, (rate, seed) in enumerate(((rate, seed) for rate in rates for seed in seeds), start=1):
        values = {"optim.lr": rate, "args.seed": seed}
        words = [f"optim.lr={rate}", f"args.seed={seed}"]
        failed = (
            {"status": "failed", "results": {}, "error": "no memory"}
            if number == len(rates) * len(seeds)
            else {}
        )
        score = {"results": {"eval/accuracy": 0.5 + rate + seed / 100}}
        fields = {"sweep": {"name": root.name, "number": number, "values": values}, "overrides": words}
        long_run(root / f"job-{number}", rows, **{**score, **fields, **failed})
        name = f"job-{number}"
        jobs.append({"id": name, "number": number, "values": values, "words": words, "directory": name})
    record = {"name": root.name, "argv": ["-m", "+recipe=glue"], "jobs": jobs}
    (root / "sweep.json").write_text(json.dumps({**record, "asked": [job["id"] for job in jobs]}))
    return root


# ---- what is written


def test_a_run_has_its_page_beside_its_record(tmp_path: Path) -> None:
    run_dir = long_run(tmp_path / "a-run", 300)
    assert write_report([str(run_dir)], None) == run_dir / "report.html"
    text = (run_dir / "report.html").read_text()
    for part in (
        "a-run",
        "finished",
        "trainer-cli +recipe=glue optim.lr=0.01",
        "command line: optim.lr=0.01",
    ):
        assert part in text
    assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?\s*(https?:|//)", text)


def test_several_runs_have_it_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_run(tmp_path / "runs/a", 10)
    other = long_run(tmp_path / "runs/b", 10)
    (other / "config.yaml").write_text("args:\n  seed: 1\noptim:\n  lr: 0.5\n")
    monkeypatch.chdir(tmp_path)
    assert write_report(["runs"], None) == Path("report.html")
    text = Path("report.html").read_text()
    assert "lr=0.5" in text
    assert "seed=1" not in text
    assert write_report(["runs/a", "runs/b"], str(tmp_path / "mine.html")) == tmp_path / "mine.html"
    assert write_report(["runs"], "runs") == Path("runs/report.html")


def test_a_sweep_has_its_leaderboard_and_axes_on_it(tmp_path: Path) -> None:
    root = sweep(tmp_path / "lr", [0.01, 0.02, 0.3], [1, 2])
    text = page(root)
    assert (root / "report.html").exists()
    for part in ("Leaderboard", "optim.lr=0.02", "accuracy by optim.lr", "no memory", "1 failed"):
        assert part in text
    assert "by args.seed" not in text
    data = data_of(text)
    (axis,) = data["axes"]
    assert [len(axis["points"]), axis["kind"], len(axis["means"])] == [5, "log", 3]


def test_jobs_that_are_named_one_by_one_have_their_axes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = sweep(tmp_path / "lr", [0.01, 0.02], [1])
    monkeypatch.chdir(tmp_path)
    data = data_of(page(root / "job-1", root / "job-2"))
    assert [run["label"] for run in data["runs"]] == ["lr=0.01 seed=1", "lr=0.02 seed=1"]
    assert data["axes"] == []  # one score is no plot: the other job failed


@pytest.mark.parametrize("rows", [0, 1])
def test_a_run_that_has_only_begun(tmp_path: Path, rows: int) -> None:
    run_dir = long_run(tmp_path / "a", rows, status="running", results=None, summary=None)
    (run_dir / "config.yaml").unlink()
    if not rows:
        (run_dir / "metrics.jsonl").unlink()
    record = json.loads((run_dir / "run.json").read_text())
    kept = {key: record[key] for key in ("id", "created", "status")}
    (run_dir / "run.json").write_text(json.dumps(kept))
    text = page(run_dir)
    assert ("No numbers have been logged yet." in text) == (rows == 0)


def test_why_a_run_failed_is_on_it(tmp_path: Path) -> None:
    text = page(
        long_run(tmp_path / "a", 5, status="diverged", error="update 3 has loss nan", stopped="pruned")
    )
    assert "update 3 has loss nan" in text
    assert "Stopped early: pruned." in text


def test_nothing_breaks_out_of_the_text_that_it_is(tmp_path: Path) -> None:
    run_dir = evil_run(tmp_path)
    text = page(run_dir)
    assert text.count("<script") == text.count("</script>") == 2
    assert "<img" not in text
    assert data_of(text)["runs"][0]["id"] == EVIL


def evil_run(tmp_path: Path) -> Path:
    """A run whose every text tries to be HTML."""
    words = [f"run.name={EVIL}", f"optim.lr={EVIL}"]
    fields = {"id": EVIL, "name": EVIL, "argv": words, "overrides": words, "error": EVIL}
    run_dir = long_run(tmp_path / "evil", 20, **fields, summary={EVIL: EVIL}, results={EVIL: 1.0})
    (run_dir / "config.yaml").write_text(json.dumps({"optim": {"lr": EVIL, EVIL: EVIL}}))
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 21, "epoch": 1, EVIL: 1.0, "train/loss": "nan"}) + "\n")
    return run_dir


@pytest.mark.slow
def test_a_page_of_100_000_rows_is_small_and_quickly_written(tmp_path: Path) -> None:
    run_dir = long_run(tmp_path / "long")
    began = time.process_time()
    path = write_report([str(run_dir)], None)
    assert time.process_time() - began < 6  # half of it on a machine with nothing else to do
    assert path.stat().st_size < 1_000_000
    curve = data_of(path.read_text())["runs"][0]["curves"]["train/loss"]
    assert curve["n"] == 99_000
    assert 1000 in curve["y"]
    assert "nan" in curve["y"]
    assert len(curve["y"]) <= 3000


@pytest.mark.slow
def test_a_page_of_more_jobs_than_it_draws_is_small(tmp_path: Path) -> None:
    root = sweep(tmp_path / "many", [place / 1000 for place in range(1, 156)], [1, 2], rows=400)
    path = write_report([str(root)], None)
    assert path.stat().st_size < 2_000_000
    data = data_of(path.read_text())
    assert len(data["runs"]) == MOST_RUNS
    assert len(data["axes"][0]["points"]) == 309
    assert "10 jobs that came to less are left out." in path.read_text()


@pytest.mark.parametrize(
    ("words", "output", "says"),
    [
        ([], None, "report needs a run"),
        (["nothing-here"], None, "no directory nothing-here"),
        (["a"], "no/such/place.html", "cannot be written"),
    ],
)
def test_what_cannot_be_reported_is_the_users_error(
    words: list[str], output: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_run(tmp_path / "a", 1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=says):
        write_report(words, output)


def test_a_sweep_that_has_not_begun_or_is_damaged(tmp_path: Path) -> None:
    root = sweep(tmp_path / "lr", [0.1], [1])
    shutil.rmtree(root / "job-1")
    with pytest.raises(UserError, match="no job of"):
        write_report([str(root)], None)
    (root / "sweep.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        write_report([str(root)], None)


def data_of(text: str) -> dict[str, Any]:
    """What the page's script is given."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    data: dict[str, Any] = json.loads(found)
    return data


# ---- what a browser makes of it

Open = Callable[[Path], Chrome]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Chromium without a window."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.fail("there is no chromium with its chromedriver: `make browser` installs them")
    options = ChromeOptions()
    options.binary_location = str(programs[0])
    for switch in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "no-first-run",
        "disable-background-networking",
    ):
        options.add_argument(f"--{switch}")
    for switch in ("disable-component-update", "disable-sync", "window-size=1200,900"):
        options.add_argument(f"--{switch}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(programs[1]))
    driver.set_script_timeout(10)
    yield driver
    driver.quit()


@pytest.fixture
def look(browser: Chrome) -> Iterator[Open]:
    """Opens a page; at the end, nothing may have been complained about or asked of a network."""
    emulate(browser, "light", 1200)
    for kind in ("browser", "performance"):
        browser.get_log(kind)

    def open_page(path: Path) -> Chrome:
        browser.get(path.resolve().as_uri())
        assert browser.execute_script("return document.readyState") == "complete"
        settle(browser)
        return browser

    yield open_page
    assert browser.get_log("browser") == []
    assert {url.partition(":")[0] for url in requests(browser)} <= {"file", "data"}


def requests(browser: Chrome) -> Iterator[str]:
    """What was asked for since the log was last read."""
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]


def emulate(browser: Chrome, scheme: str, width: int) -> None:
    """A screen that is light or dark, and so many pixels wide."""
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def settle(browser: Chrome) -> None:
    """Wait until two frames were drawn."""
    browser.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
    )


def figures(browser: Chrome) -> dict[str, WebElement]:
    """The charts by their titles."""
    return {
        str(one.get_attribute("data-title")): one for one in browser.find_elements(By.CSS_SELECTOR, "figure")
    }


def paths(figure: WebElement) -> list[str]:
    """The lines of a chart."""
    return [str(one.get_attribute("d")) for one in figure.find_elements(By.CSS_SELECTOR, ".plot path.line")]


def press(browser: Chrome, text: str, inside: WebElement | None = None) -> WebElement:
    """Click the one button whose text ends so."""
    buttons = (inside or browser).find_elements(By.TAG_NAME, "button")
    (button,) = [one for one in buttons if one.text.endswith(text)]
    button.click()
    settle(browser)
    return button


def hover(browser: Chrome, figure: WebElement, across: float = 0.0) -> str:
    """The readout with the pointer so far from the middle of a chart, in halves of its width."""
    plot = figure.find_element(By.CSS_SELECTOR, ".plot")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    offset = int(plot.size["width"] / 2 * across)
    ActionChains(browser, duration=0).move_to_element_with_offset(plot, offset, 0).perform()
    return str(figure.find_element(By.CSS_SELECTOR, ".readout").text)


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of 1,000 rows that has a checkpoint."""
    run_dir = long_run(tmp_path_factory.mktemp("one") / "a", 1000, sessions=[{"step": 0}, {"step": 200}])
    (run_dir / "checkpoint-500").mkdir()
    return write_report([str(run_dir)], None)


@pytest.fixture(scope="module")
def a_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a sweep of six jobs."""
    return write_report(
        [str(sweep(tmp_path_factory.mktemp("sweep") / "lr", [0.01, 0.02, 0.3], [1, 2]))], None
    )


@pytest.mark.slow
def test_every_chart_is_drawn(look: Open, one_run: Path) -> None:
    found = figures(look(one_run))
    assert list(found)[:4] == ["loss", "accuracy", "learning rate", "gradient norm"]
    for title, figure in found.items():
        assert all(len(path) > 20 for path in paths(figure)), title
        assert len(paths(figure)) == (2 if title == "loss" else 1)
        assert len(figure.find_elements(By.CSS_SELECTOR, "text.tick.left")) >= 2, title
        assert len(figure.find_elements(By.CSS_SELECTOR, "text.tick.middle")) >= 2, title
        assert len(figure.find_elements(By.CSS_SELECTOR, ".checkpoint, .resumed")) == 2
    assert len(found["accuracy"].find_elements(By.CSS_SELECTOR, "circle.best")) == 1
    assert found["loss"].find_element(By.CSS_SELECTOR, ".broken title").get_attribute("textContent") == (
        "train/loss: nan at step 751"
    )


@pytest.mark.slow
def test_a_line_breaks_where_a_value_is_not_finite(look: Open, one_run: Path) -> None:
    train, _ = paths(figures(look(one_run))["loss"])
    assert train.count("M") == 2


@pytest.mark.slow
def test_the_pointer_shows_steps_and_values(look: Open, one_run: Path) -> None:
    browser = look(one_run)
    found = figures(browser)
    text = hover(browser, found["accuracy"])
    assert re.search(r"step [\d,]+ · epoch [\d.]+\neval/accuracy 0\.\d+", text)
    cursors = browser.find_elements(By.CSS_SELECTOR, ".cursor[visibility=visible]")
    assert len(cursors) == len(found)
    assert "train/loss" in hover(browser, found["loss"], 0.3)


@pytest.mark.slow
def test_axes_can_be_logarithmic_and_start_so_where_a_spike_hides_the_rest(look: Open, one_run: Path) -> None:
    browser = look(one_run)
    found = figures(browser)
    before = paths(found["accuracy"])
    assert press(browser, "log", found["accuracy"]).get_attribute("aria-pressed") == "true"
    assert paths(found["accuracy"]) != before
    toggle = found["loss"].find_element(By.CSS_SELECTOR, "button.log")
    assert toggle.get_attribute("aria-pressed") == "true"


@pytest.mark.slow
def test_lines_are_switched_and_smoothed(look: Open, one_run: Path) -> None:
    browser = look(one_run)
    loss = figures(browser)["loss"]
    press(browser, "eval/loss", loss)
    assert len(paths(loss)) == 1
    browser.execute_script(
        "const slider = document.getElementById('smoothing');"
        "slider.value = 2; slider.dispatchEvent(new Event('input'))"
    )
    raw, smooth = paths(loss)
    assert raw != smooth
    assert "over 2 % of the steps" in browser.find_element(By.ID, "controls").text
    assert re.search(r"train/loss [\d.]+ \([\d.]+\)", hover(browser, loss, 0.2))


@pytest.mark.slow
def test_a_drag_zooms_all_charts(look: Open, one_run: Path) -> None:
    browser = look(one_run)
    found = figures(browser)
    hover(browser, found["accuracy"])
    ActionChains(browser, duration=0).click_and_hold().move_by_offset(80, 0).release().perform()
    settle(browser)
    ticks = [one.text for one in found["gradient norm"].find_elements(By.CSS_SELECTOR, "text.tick.middle")]
    assert ticks
    assert min(int(text.replace(",", "")) for text in ticks) > 300
    press(browser, "whole run")
    ticks = [one.text for one in found["gradient norm"].find_elements(By.CSS_SELECTOR, "text.tick.middle")]
    assert ticks[-1] == "1,000"
    press(browser, "by epoch")
    ticks = [one.text for one in found["gradient norm"].find_elements(By.CSS_SELECTOR, "text.tick.middle")]
    assert float(ticks[-1]) == 1


@pytest.mark.slow
def test_runs_of_a_sweep_are_drawn_together_and_switched_in_all_charts(look: Open, a_sweep: Path) -> None:
    browser = look(a_sweep)
    found = figures(browser)
    drawn = {title: figure for title, figure in found.items() if figure.get_attribute("data-chart")}
    assert {len(paths(figure)) for figure in drawn.values()} == {6}
    press(browser, "lr=0.02 seed=1")
    assert {len(paths(figure)) for figure in drawn.values()} == {5}
    press(browser, "none")
    assert {len(paths(figure)) for figure in drawn.values()} == {0}
    press(browser, "all")
    assert hover(browser, found["accuracy"]).count("lr=") == 6


@pytest.mark.slow
def test_a_sweeps_axis_has_a_dot_for_each_job_and_a_mean_for_each_value(look: Open, a_sweep: Path) -> None:
    figure = figures(look(a_sweep))["accuracy by optim.lr, logarithmic"]
    assert len(figure.find_elements(By.CSS_SELECTOR, "circle.job")) == 5
    told = [one.get_attribute("textContent") for one in figure.find_elements(By.CSS_SELECTOR, "g > title")]
    assert told == ["mean 0.525 ± 0.007071, of 2", "mean 0.535 ± 0.007071, of 2", "0.81"]
    ticks = [one.text for one in figure.find_elements(By.CSS_SELECTOR, "text.tick.middle")]
    assert ticks == ["0.01", "0.02", "0.3"]


CONTRAST = """
const style = getComputedStyle(document.documentElement);
const hexes = (name) => style.getPropertyValue(name).match(/[0-9a-f]{2}/g);
const parse = (name) => hexes(name).map((hex) => parseInt(hex, 16) / 255);
const light = (rgb) => rgb.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const ratio = (one, other) => {
  const [low, high] = [light(parse(one)), light(parse(other))].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
return [["--text", "--card"], ["--quiet", "--page"], ["--bad", "--card"], ["--good", "--page"]]
  .map((pair) => ratio(...pair)).concat(
  [0, 1, 2, 3, 4, 5, 6, 7].map((i) => ratio(`--c${i}`, "--card")));
"""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_legible_on_light_and_dark_screens(
    look: Open, one_run: Path, browser: Chrome, scheme: str
) -> None:
    emulate(browser, scheme, 1200)
    look(one_run)
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) > 382) == (scheme == "light")
    ratios = browser.execute_script(CONTRAST)
    assert len(ratios) == 12
    assert min(ratios[:4]) >= 4.5
    assert min(ratios) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("page", ["one_run", "a_sweep"])
def test_a_narrow_window_is_filled_and_not_left(
    look: Open, browser: Chrome, page: str, request: pytest.FixtureRequest
) -> None:
    emulate(browser, "light", 400)
    look(request.getfixturevalue(page))
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 400
    emulate(browser, "light", 900)
    settle(browser)
    widths = {one.size["width"] for one in browser.find_elements(By.CSS_SELECTOR, "figure svg[role=img]")}
    assert min(widths) > 300


@pytest.mark.slow
def test_texts_that_try_to_be_markup_stay_texts(look: Open, tmp_path: Path) -> None:
    browser = look(write_report([str(evil_run(tmp_path))], None))
    assert browser.title == EVIL
    assert browser.find_elements(By.TAG_NAME, "img") == []
    assert EVIL in figures(browser)
    assert EVIL in hover(browser, figures(browser)[EVIL])


@pytest.mark.slow
def test_the_page_may_not_ask_the_network(browser: Chrome, one_run: Path) -> None:
    browser.get(one_run.resolve().as_uri())
    directive = browser.execute_async_script(
        "const done = arguments[0];"
        "document.addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective));"
        "fetch('http://127.0.0.1:9/').catch(() => {});"
    )
    assert directive == "connect-src"
    browser.get_log("browser")


@pytest.mark.slow
@pytest.mark.parametrize("rows", [0, 1, 2])
def test_a_run_that_has_only_begun_is_no_trouble(look: Open, tmp_path: Path, rows: int) -> None:
    browser = look(write_report([str(long_run(tmp_path / "a", rows))], None))
    assert len(figures(browser)) == (8 if rows else 0)


@pytest.mark.slow
def test_a_loss_that_exploded_leaves_the_others_to_be_seen(look: Open, tmp_path: Path) -> None:
    run_dirs = [long_run(tmp_path / name, 20) for name in ("a", "b")]
    (run_dirs[1] / "metrics.jsonl").write_text(
        '{"step": 1, "train/loss": 1}\n{"step": 2, "train/loss": 1e30}\n'
    )
    browser = look(write_report([str(path) for path in run_dirs], str(tmp_path / "page.html")))
    loss = figures(browser)["training loss"]
    (log,) = loss.find_elements(By.CSS_SELECTOR, "button.log")
    assert log.get_attribute("aria-pressed") == "true"
    log.click()
    ticks = [one.text for one in loss.find_elements(By.CSS_SELECTOR, "text.tick.left")]
    assert len(ticks) >= 2 and all(len(tick) <= 6 for tick in ticks)
    assert any("e+29" in tick for tick in ticks)


@pytest.mark.slow
def test_on_paper_nothing_is_cut_off(look: Open, one_run: Path) -> None:
    browser = look(one_run)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    # Paper is narrower than the screen that the charts were drawn for, and no script runs for it.
    wide, narrow = browser.execute_script(
        "const svg = charts[0].plot.querySelector('svg'), size = () => svg.getBoundingClientRect().toJSON();"
        "const before = size(); svg.parentElement.style.width = `${before.width / 2}px`;"
        "return [before, size()]"
    )
    assert narrow["width"] == pytest.approx(wide["width"] / 2)
    assert narrow["height"] == pytest.approx(wide["height"] / 2, abs=1)
    limits = browser.execute_script(
        "return [...document.querySelectorAll('.scroll')].map(one => getComputedStyle(one).maxHeight)"
    )
    assert limits and set(limits) == {"none"}
