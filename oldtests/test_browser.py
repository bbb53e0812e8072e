"""In a real browser: pages on a phone without a network, and every notebook in JupyterLab from opening to saving.

Needs `pip install playwright` and a Chromium, the system's or playwright's own; skipped without them.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import jupytext
import pytest

from alexold import report
from alexold.paths import ROOT

pytestmark = pytest.mark.browser
PATIENCE = 1800  # seconds for a notebook at the sample scale, on a busy machine
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
PAGES = sorted(path for path in (ROOT / "reports").rglob("*.html") if "sample" not in path.parts)
# What is wider than the window and in nothing that scrolls
CLIPPED = """() => [...document.querySelectorAll('pre, table, img, math')].filter(e => {
    if (e.getBoundingClientRect().right <= innerWidth && e.scrollWidth <= innerWidth) return false
    for (let p = e; p; p = p.parentElement)
        if (['auto', 'scroll'].includes(getComputedStyle(p).overflowX) && p.scrollWidth > p.clientWidth) return false
    return true
}).map(e => e.tagName + ': ' + e.textContent.slice(0, 60))"""


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        own, systems = playwright.chromium.executable_path, [path for name in NAMES if (path := shutil.which(name))]
        if not os.path.exists(own) and not systems:
            pytest.skip(f"no Chromium here: install one of {', '.join(NAMES)}, or run: playwright install chromium")
        path = None if os.path.exists(own) else systems[0]
        browser = playwright.chromium.launch(executable_path=path, args=SWITCHES)
        yield browser
        browser.close()


# ---- the site -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT / "reports")))
def test_a_page_fits_a_phone_and_asks_for_nothing(chromium, path):
    context, asked = chromium.new_context(viewport={"width": 390, "height": 844}, offline=True), []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(CLIPPED) == []
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    for formula in page.query_selector_all("math")[:3]:
        assert formula.bounding_box()["height"] > 5, "a formula that is not drawn"
    context.close()


# ---- JupyterLab -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a copy of the notebooks: (its address with a token, the folder)."""
    home = tmp_path_factory.mktemp("lab")
    folder = shutil.copytree(report.NOTEBOOKS, home / "notebooks", ignore=shutil.ignore_patterns(".*"))
    settings = home / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')  # all cells are on the page
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    token, paths = secrets.token_hex(8), os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += [f"--IdentityProvider.token={token}", "--ServerApp.port_retries=0", "--LabApp.news_url=None"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    kept = {"JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces")}
    with open(home / "log", "w") as log:
        server = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **kept, "PYTHONPATH": paths}, stdout=log, stderr=log
        )
        try:
            wait(lambda: answers(f"http://127.0.0.1:{port}/api?token={token}"), 120, "JupyterLab does not answer")
            yield f"http://127.0.0.1:{port}", token, folder
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


def answers(address):
    try:
        return urllib.request.urlopen(address, timeout=5).status == 200
    except OSError:
        return False


def wait(condition, seconds, message):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, message
        time.sleep(1)
    return found


def code_cells(path):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def saved_when_done(page, path):
    """Save until all cells have run, or one has failed: the file's code cells; None before."""
    page.keyboard.press("Control+s")
    time.sleep(2)
    cells = code_cells(path)
    failed = any(out["output_type"] == "error" for cell in cells for out in cell["outputs"])
    return cells if failed or all(cell["execution_count"] for cell in cells) else None


def opened(chromium, lab, name):
    """A page with that notebook, its kernel there and connected."""
    address, token, _ = lab
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(f"{address}/lab/tree/{name}.ipynb?token={token}&reset")
    page.wait_for_selector(".jp-NotebookPanel", timeout=180_000)
    wait(lambda: ready(address, token, name), 180, f"{name} has no kernel")
    page.wait_for_selector(".jp-NotebookPanel .jp-KernelName:has-text('Python 3')")
    return page


def ready(address, token, name):
    """Before that, Lab answers a request to run with a dialog."""
    with urllib.request.urlopen(f"{address}/api/sessions?token={token}", timeout=5) as answer:
        kernels = [one["kernel"] for one in json.load(answer) if one["path"] == f"{name}.ipynb"]
    return any(kernel["execution_state"] == "idle" and kernel["connections"] for kernel in kernels)


def runs(page):
    """Ask for all cells; whether the first of them have been taken up."""
    page.click(".lm-MenuBar-itemLabel:text-is('Run')")
    page.click(".lm-Menu-itemLabel:text-is('Run All Cells')")
    time.sleep(5)
    return any(
        "[ ]" not in prompt.text_content() for prompt in page.query_selector_all(".jp-InputPrompt:has-text('[')")
    )


@pytest.mark.parametrize("name", report.notebooks())
def test_a_notebook_runs_in_jupyterlab_and_stays_a_pair(chromium, lab, name):
    path, page = lab[2] / f"{name}.ipynb", opened(chromium, lab, name)
    wait(lambda: runs(page), 120, f"{name} does not begin to run")
    cells = wait(lambda: saved_when_done(page, path), PATIENCE, f"{name} is not done")
    errors = [f"{o['ename']}: {o['evalue']}" for cell in cells for o in cell["outputs"] if o["output_type"] == "error"]
    assert errors == []
    assert page.query_selector_all('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]') == []
    if name == "01_augmentation":
        assert_a_slider_moves_the_picture(page)
    script = path.with_suffix(".py").read_text()
    assert jupytext.writes(jupytext.read(path), fmt="py:percent") == script
    assert script == (report.NOTEBOOKS / f"{name}.py").read_text(), "saving has changed the text"
    page.close()


def assert_a_slider_moves_the_picture(page):
    picture = "document.querySelector('img.widget-image').src"
    page.wait_for_selector("img.widget-image")
    before, handle = page.evaluate(picture), page.query_selector(".widget-hslider .noUi-handle")
    handle.scroll_into_view_if_needed()
    handle.focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    wait(lambda: page.evaluate(picture) != before, 60, "the picture does not follow the slider")
