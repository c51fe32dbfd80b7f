"""The console in a real browser: every page and every action, from end to end."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from browsers import INTRANET, Gallery, Proxy, Shop, Visit, chromium, serving
from playwright.sync_api import Browser, Locator, Page, expect
from servers import Server, wait_until
from sites import SCRIPT, Site

from dracotask.clock import utc_now

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    shop = Shop(tmp_path_factory.mktemp("shop"))
    shop.load()
    return shop


@pytest.fixture(scope="module")
def server(shop: Shop) -> Iterator[Server]:
    with serving(shop) as server:
        yield server


@pytest.fixture(scope="module")
def host(server: Server) -> str:
    return f"127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def tasks(host: str) -> str:
    """The address of the console."""
    return f"http://{host}/tasks"


@pytest.fixture
def visits(browser: Browser, host: str) -> Iterator[Callable[..., Visit]]:
    """Make visits. None of them may ask another host for anything, or do what the policy does not allow."""
    made: list[Visit] = []

    def make(*hosts: str, **options: object) -> Visit:
        made.append(Visit(browser, host, *hosts, **options))
        return made[-1]

    yield make
    for visit in made:
        visit.close()
    for visit in made:
        visit.assert_undisturbed()


@pytest.fixture(scope="module")
def anna(browser: Browser, shop: Shop, tasks: str, host: str) -> dict[str, object]:
    """The cookie of anna, who has come by a link and may do everything."""
    visit = Visit(browser, host)
    visit.sign_in(shop.link(tasks))
    state = visit.context.storage_state()
    visit.close()
    return state


@pytest.fixture
def page(visits, anna, tasks: str) -> Page:
    """The list of tasks, as anna sees it."""
    page = visits(storage_state=anna).page
    page.goto(tasks + "/")
    return page


def row(page: Page, name: str) -> Locator:
    """The row of a task in the list."""
    return page.locator("tr", has=page.get_by_role("link", name=name, exact=True))


def state(page: Page) -> Locator:
    """What the page of a run, or of a task, says of how it is."""
    return page.locator("#state")


def note(page: Page) -> Locator:
    """What stands above a page because something could not be done."""
    return page.get_by_role("alert")


def in_form(page: Page, summary: str) -> Locator:
    """Open a form, and return it."""
    page.locator("summary", has_text=summary).click()
    return page.locator("details[open] form").first


def look_until(page: Page, condition: Callable[[], object]) -> None:
    """Come back to the page, which then looks at once what is new, until something is true."""

    def come_back() -> object:
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        return condition()

    wait_until(come_back, "the page shows it", 30)


def at_task(page: Page, tasks: str, name: str) -> Page:
    page.goto(f"{tasks}/task/{name}")
    return page


def assert_on_record(page: Page, tasks: str, name: str | None, *words: str) -> None:
    """The last line of Activity says these words."""
    page.goto(f"{tasks}/activity" + (f"?name={name}" if name else ""))
    for word in words:
        expect(page.locator("tbody tr").first).to_contain_text(word)


# -- A run --------------------------------------------------------------------------------------


def test_a_run_is_seen_at_work_and_nobody_has_to_reload(page, shop, server):
    # Given a run that has just been started from the list
    row(page, "Import").get_by_role("button", name="Run now").click()
    page.evaluate("window.isTheSamePage = true")
    bar, output = state(page).get_by_role("progressbar"), page.locator("#output")
    at_end = "output => output.scrollTop + output.clientHeight >= output.scrollHeight - 8"

    # When it goes on, the bar moves and the output grows; who is at its end stays there
    expect(bar).to_have_attribute("value", "25")
    expect(state(page)).to_contain_text("supplier 1")
    expect(output).to_contain_text("supplier 1, product 39 of 40")
    expect(page.locator("#nothing")).to_be_hidden()
    shop.let_through("import")
    expect(bar).to_have_attribute("value", "50")
    expect(output).to_contain_text("supplier 2, product 39 of 40")
    page.wait_for_function(f"({at_end})(document.getElementById('output'))")

    # And who reads further up is left there
    output.evaluate("output => { output.scrollTop = 5 }")
    shop.let_through("import")
    expect(output).to_contain_text("supplier 3, product 39 of 40")
    assert output.evaluate("output => output.scrollTop") == 5
    expect(bar).to_have_attribute("value", "75")

    # Then it ends, and the page says so by itself
    shop.let_through("import")
    expect(state(page)).to_contain_text("ok")
    expect(state(page)).to_contain_text("120 products")
    expect(bar).to_have_count(0)
    expect(page.locator("#tailing")).to_be_empty()
    expect(page.get_by_role("button", name="Run again")).to_be_visible()
    assert page.evaluate("window.isTheSamePage")
    assert output.inner_text().count("product") == 120


def test_a_run_is_started_from_the_list(page, tasks):
    row(page, "Sweep").get_by_role("button", name="Run now").click()

    expect(page).to_have_url(re.compile(r"/tasks/runs/\w{26}$"))
    expect(state(page)).to_contain_text("12 swept")
    expect(page.locator("#facts")).to_contain_text("the console anna")
    assert_on_record(page, tasks, "Sweep", "anna ran it")


def test_a_run_takes_arguments_as_the_signature_says(page, tasks):
    # Given the form that the list leads to
    row(page, "Report").get_by_role("link", name="Run …").click()
    form = page.locator("details[open] form")
    days, title, full = (form.locator(f"[name='arg.{name}']") for name in ("days", "title", "full"))
    expect(form).to_contain_text("days a whole number")

    # When what is needed is left out, the browser itself says so
    form.get_by_role("button", name="Run now").click()
    assert days.evaluate("field => field.validity.valueMissing")

    # And what is no number is refused in words, and need not be typed again
    days.fill("<three>")
    title.fill('"quoted" & <i>')
    with page.expect_response(lambda answer: answer.request.method == "POST") as sent:
        form.get_by_role("button", name="Run now").click()
    assert sent.value.status == 409
    expect(note(page)).to_contain_text("days = '<three>' is not a whole number.")
    expect(days).to_have_value("<three>")
    expect(title).to_have_value('"quoted" & <i>')

    # Then with a number it runs
    days.fill("3")
    full.fill("yes")
    form.get_by_role("button", name="Run now").click()
    expect(page.locator("#output")).to_have_text("3 '\"quoted\" & <i>' True\n")
    expect(state(page)).to_contain_text("3 days")
    assert_on_record(page, tasks, "Report", "anna ran it")


def test_a_run_is_asked_to_stop_and_comes_to_its_own_end(page, shop, tasks):
    row(page, "Endless").get_by_role("button", name="Run now").click()
    expect(page.locator("#output")).to_contain_text("watching")

    page.goto(tasks + "/")
    row(page, "Endless").get_by_role("link", name="Stop").click()
    page.locator("details[open]").get_by_label("Why").fill("the disk is full")
    page.get_by_role("button", name="Stop it").click()

    expect(state(page)).to_contain_text("stopped")
    expect(page.locator("#output")).to_contain_text("asked to end")
    expect(page.locator("#facts")).to_contain_text("Stopped byanna the disk is full")
    assert_on_record(page, tasks, "Endless", "anna asked a run to stop: the disk is full")


def test_what_has_failed_shows_its_traceback_and_is_tried_again(page, shop, tasks):
    # Given a run that fails while its page is open
    (shop.path / "bank").unlink(missing_ok=True)
    row(page, "Flaky").get_by_role("button", name="Run now").click()
    expect(state(page)).to_contain_text("failed")
    expect(page.locator("#trace")).to_contain_text("No such file or directory: 'bank'")
    failed = page.url

    # When what was wrong is mended, and it is tried again
    shop.put("bank", "1.08")
    page.get_by_role("button", name="Retry").click()

    # Then that is a run of its own, and it is well
    expect(state(page)).to_contain_text("ok")
    expect(state(page)).to_contain_text("1.08")
    assert page.url != failed
    assert_on_record(page, tasks, "Flaky", "anna ran it")


def test_a_retry_that_waits_for_an_hour_is_had_now(page, shop, tasks):
    # Given a run whose first attempt failed
    (shop.path / "news").unlink(missing_ok=True)
    row(page, "Again").get_by_role("button", name="Run now").click()
    expect(page.locator("#facts")).to_contain_text("Waits")
    expect(page.locator("#output")).to_contain_text("FileNotFoundError")

    # When somebody will not wait
    shop.put("news", "all is well")
    address = page.url
    page.get_by_role("button", name="Retry now").click()

    # Then the same run goes on, and its page with it
    expect(state(page)).to_contain_text("all is well")
    assert page.url == address
    expect(page.locator("#said")).to_contain_text("Output of attempt 2")
    expect(page.locator("#output")).not_to_contain_text("FileNotFoundError")
    page.locator("#attempts").get_by_role("link", name="Output").click()
    expect(page.locator("#output")).to_contain_text("FileNotFoundError")
    assert_on_record(page, tasks, "Again", "anna had a run tried again at once")


# -- A schedule ---------------------------------------------------------------------------------


def test_a_task_is_held_until_a_day_with_the_reason_and_resumed_from_the_list(page, shop, tasks):
    # Given a moment at which nobody could mean it
    form = in_form(at_task(page, tasks, "Nightly"), "Hold …")
    form.get_by_label("Until").fill("yesterday")
    form.get_by_label("Why").fill("stock <taking>")
    form.get_by_role("button", name="Hold it").click()
    expect(note(page)).to_contain_text("yesterday")

    # When it is mended, and the reason need not be typed again
    expect(form.get_by_label("Why")).to_have_value("stock <taking>")
    form.get_by_label("Until").fill("2036-01-31 14:00")
    form.get_by_role("button", name="Hold it").click()

    # Then it is held, and says who holds it, why and for how long
    expect(state(page)).to_contain_text("held by anna")
    expect(state(page)).to_contain_text("2036-01-31 14:00")
    expect(state(page)).to_contain_text("stock <taking>")
    assert shop.schedule("Nightly").held_at
    assert_on_record(page, tasks, "Nightly", "anna held it until 2036-01-31 14:00", "stock <taking>")

    # And resumed
    page.goto(tasks + "/")
    row(page, "Nightly").get_by_role("button", name="Resume").click()
    expect(row(page, "Nightly").get_by_role("button", name="Run now")).to_be_visible()
    assert not shop.schedule("Nightly").held_at
    assert_on_record(page, tasks, "Nightly", "anna resumed it")


def test_the_next_fire_time_is_skipped(page, shop, tasks):
    form = in_form(at_task(page, tasks, "Nightly"), "Skip next …")
    before = shop.schedule("Nightly").next_fire_time
    form.get_by_label("Why").fill("a holiday")
    form.get_by_role("button", name="Skip it").click()

    expect(state(page)).to_contain_text(f"skips {before:%Y-%m-%d}")
    skipped = shop.schedule("Nightly")
    assert skipped.skip_until == before or skipped.next_fire_time > before
    assert_on_record(page, tasks, "Nightly", "anna skipped", "a holiday")


def test_a_task_is_rescheduled_until_the_file_is_to_say_again(page, shop, tasks):
    # Given a rule that is none
    form = in_form(at_task(page, tasks, "Sweep"), "Reschedule …")
    form.get_by_label("Rule").fill("every now and then")
    form.get_by_role("button", name="Reschedule it").click()
    expect(note(page)).to_be_visible()
    expect(form.get_by_label("Rule")).to_have_value("every now and then")

    # When it is a good one
    form.get_by_label("Rule").fill("cron 30 4 2 2 *")
    form.get_by_role("button", name="Reschedule it").click()

    # Then that counts
    expect(page.locator("#facts")).to_contain_text("at 04:30 on February 2")
    assert_on_record(page, tasks, "Sweep", "anna rescheduled it")

    # Until somebody goes back
    in_form(at_task(page, tasks, "Sweep"), "Reschedule …")
    page.get_by_role("button", name="Back to the file's rule").click()
    expect(page.locator("#facts")).to_contain_text("at 03:00 on January 1")
    expect(page.get_by_role("button", name="Back to the file's rule")).to_have_count(0)
    assert shop.schedule("Sweep").override is None


def test_a_schedule_that_was_added_is_rescheduled_and_removed(page, shop, tasks):
    # Given one whose name no path could hold
    shop.command("add", "tea/../ü?#", "Pages", "--cron", "0 3 1 1 *", "file=tea.html")
    page.reload()
    row(page, "tea/../ü?# (Pages)").get_by_role("link").first.click()
    expect(page.locator("#facts")).to_contain_text('file = "tea.html"')

    # When it gets another rule
    form = in_form(page, "Reschedule …")
    form.get_by_label("Rule").fill("cron 0 5 3 3 *")
    form.get_by_role("button", name="Reschedule it").click()
    expect(page.locator("#facts")).to_contain_text("at 05:00 on March 3")

    # And is run as it is, and removed
    in_form(page, "Run now …").get_by_role("button", name="Run now").click()
    expect(state(page)).to_contain_text("tea.html written")
    page.locator(".way").get_by_role("link").last.click()
    form = in_form(page, "Remove …")
    form.get_by_label("Why").fill("no more tea")
    form.get_by_role("button", name="Remove it").click()

    # Then nothing of it is left but what was
    expect(page).to_have_url(tasks + "/")
    assert_on_record(page, tasks, None, "anna removed it", "no more tea")


def test_the_whole_site_is_held_and_resumed(page, shop, tasks):
    form = in_form(page, "Hold the whole site")
    form.get_by_label("Why").fill("we move")
    form.get_by_role("button", name="Hold everything").click()
    try:
        expect(page.locator(".banner")).to_contain_text("The whole site is held by anna")
        expect(page.locator(".banner")).to_contain_text("we move")
        expect(row(page, "Nightly")).to_contain_text("held with the site")
        assert_on_record(page, tasks, None, "the whole site", "anna held", "we move")
        page.goto(tasks + "/")
        in_form(page, "Resume the whole site").get_by_role("button", name="Resume everything").click()
        expect(page.locator(".banner")).to_have_count(0)
        expect(row(page, "Nightly")).not_to_contain_text("held with the site")
        assert_on_record(page, tasks, None, "the whole site", "anna resumed")
    finally:
        shop.command("resume", "--all")


def test_what_is_done_in_one_tab_shows_in_the_other(visits, shop, tasks):
    # Given two tabs, one of which looks at a run at work
    visit = visits()
    one = visit.sign_in(shop.link(tasks))
    row(one, "Endless").get_by_role("button", name="Run now").click()
    expect(one.locator("#output")).to_contain_text("watching")
    other = visit.another_tab()
    other.goto(tasks + "/")
    expect(row(other, "Endless")).to_contain_text("running")

    # When it is to run once more, and is stopped there
    at_task(other, tasks, "Endless").get_by_role("button", name="Once more afterwards").click()
    expect(state(other)).to_contain_text("once more after that")
    shop.command("hold", "Endless")
    in_form(other, "Stop …").get_by_role("button", name="Stop it").click()

    # Then both say so
    expect(state(one)).to_contain_text("stopped")
    expect(state(other)).to_contain_text("stopped")
    shop.command("resume", "Endless")


# -- What is wrong ------------------------------------------------------------------------------


def test_the_banner_of_a_broken_task_file_comes_and_goes_by_itself(page, shop):
    # Given the list
    page.evaluate("window.isTheSamePage = true")
    whole = (shop.path / "__tasks__.py").read_text()
    try:
        # When the file is saved half written
        shop.put("__tasks__.py", whole + "\nclass Broken(Task)\n    pass\n")
        banner = page.locator(".banner.red")
        look_until(page, lambda: banner.count() == 1)

        # Then the page says where, with the lines around it, and goes on showing the tasks
        expect(banner).to_contain_text("__tasks__.py is broken")
        expect(banner.locator(".it")).to_contain_text("class Broken(Task)")
        expect(banner.locator(".it i")).to_have_text(str(whole.count("\n") + 2))
        expect(row(page, "Sweep")).to_be_visible()
    finally:
        shop.put("__tasks__.py", whole)

    # And when it is mended, the banner goes
    look_until(page, lambda: banner.count() == 0)
    assert page.evaluate("window.isTheSamePage")


class Alone:
    """The console of a site that is served by the command line, and starts nothing by itself."""

    def __init__(self, site: Site, program: list[str] | None = None) -> None:
        self.process = site.start("console", "--port", "0", program=program)
        assert self.process.stdout is not None
        said = ""
        while "token=" not in said:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()
            said += line
        self.link = said.split()[-1]
        self.address, _, _ = self.link.partition("/sign-in")
        self.host = self.address.removeprefix("http://")

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0


def test_a_site_where_nobody_comes_says_so_and_why_a_run_was_late(site, visits):
    # Given a site with a console of its own; to sign in there has it look for what is due, once
    yearly = "    def __init__(self): self.schedule(cron='0 3 1 1 *')"
    site.write("class Report(Task):", yearly, "    def run(self): pass")
    assert site.run("load").returncode == 0
    alone = Alone(site)
    page = visits(alone.host).sign_in(alone.link)
    wait_until(lambda: site.processes() == [alone.process.pid], "that look is over", 30)

    # When a report is due, and nobody has come for more than an hour
    hour_ago = utc_now() - timedelta(hours=1)
    with site.store() as store:
        report = store.schedule("Report")
        assert report is not None and store.put_schedule(report.but(next_fire_time=hour_ago))
    Path(site.state.next_file).touch()
    for path in (site.state.next_file, *Path(site.state.seen_folder).iterdir()):
        os.utime(path, (hour_ago.timestamp() - 60, hour_ago.timestamp() - 60))
    page.reload()

    # Then the page says what is late, and leads to the cure
    expect(page).to_have_title(re.compile("1 late"))
    expect(page.locator(".banner.yellow")).to_contain_text("Nobody has looked since")
    page.get_by_role("link", name="Add one cron line").click()
    expect(page.locator("#cron")).to_contain_text(" due")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#cron").inner_text()

    # And when somebody has come, the banner goes by itself, and the run says how late it was, and why
    page.goto(alone.address + "/")
    site.due()
    look_until(page, lambda: page.locator(".banner").count() == 0)
    row(page, "Report").get_by_role("link").click()
    page.locator("#history tr", has_text="ok").get_by_role("link").last.click()
    expect(page.locator("#facts")).to_contain_text("after it was due: ")
    alone.end()


#: Root may write wherever it likes, unless it gives that up.
OBEYS_MODES = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def test_a_state_folder_that_cannot_be_written_is_told_and_so_is_what_cannot_be_done(site, visits):
    # Given somebody who is at the console
    site.write("class Sweep(Task):", "    def run(self): pass")
    assert site.run("load").returncode == 0
    alone = Alone(site, [*OBEYS_MODES, sys.executable, str(SCRIPT)])
    page = visits(alone.host).sign_in(alone.link)

    # When the state folder is taken from its user
    os.chmod(site.state.path, 0o500)
    try:
        page.reload()

        # Then that stands above all, with what the store says of it
        expect(page.locator(".banner.red")).to_contain_text("cannot be written")
        expect(page.locator("main")).to_contain_text("state.db cannot be used")

        # And above the tasks, where the store can be read because another process has it open
        with site.store() as store:
            assert store.schedules()
            page.get_by_role("link", name="To the tasks").click()
            expect(page.locator(".banner.red")).to_contain_text("cannot be written")
            expect(row(page, "Sweep")).to_be_visible()
    finally:
        os.chmod(site.state.path, 0o700)
    page.goto(alone.address + "/")
    expect(page.locator(".banner.red")).to_have_count(0)
    alone.end()


# -- Who comes in -------------------------------------------------------------------------------


def test_a_link_from_the_command_line_opens_the_console_once(visits, shop, tasks, host):
    # Given a link
    said = shop.command("console", "--url", tasks)
    link = said.split()[-1]
    assert link.startswith(f"{tasks}/sign-in?token=")

    # When it is looked at, by a scanner as by people, then nobody is in yet
    visit = visits()
    for _ in range(3):
        visit.page.goto(link)
    assert visit.context.cookies() == []
    visit.page.goto(tasks + "/")
    expect(visit.page.get_by_role("heading")).to_have_text("The console is closed")

    # When the button is pressed, then they are, with a cookie that no script sees and no other site sends
    visit.sign_in(link)
    (cookie,) = visit.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"], cookie["domain"]) == (
        True, "Strict", "/tasks", "127.0.0.1",
    )  # fmt: skip
    assert 13 < (cookie["expires"] - utc_now().timestamp()) / 86400 <= 14
    assert visit.page.evaluate("document.cookie") == ""

    # And whoever has the link after that comes too late
    late = visits()
    for address in (link, f"{tasks}/sign-in?token={'A' * 43}", f"{tasks}/sign-in"):
        answer = late.page.goto(address)
        assert answer.status == 403
        expect(note(late.page)).to_contain_text("This link is good no more")
    assert late.context.cookies() == []

    # And who signs out is out
    visit.page.get_by_role("button", name="Sign out").click()
    expect(visit.page.get_by_role("heading")).to_have_text("The console is closed")
    assert visit.context.cookies() == []


def test_a_page_that_is_open_closes_with_the_session(visits, shop, tasks):
    visit = visits()
    page = visit.sign_in(shop.link(tasks))
    visit.context.clear_cookies()

    with page.expect_navigation():
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    expect(page.get_by_role("heading")).to_have_text("The console is closed")


def test_by_plain_http_to_another_host_the_console_works_as_well(visits, shop, server):
    # Such a request carries no Sec-Fetch-Site, only Origin
    address = f"{INTRANET}:{server.port}"
    page = visits(address).sign_in(shop.link(f"http://{address}/tasks"))

    row(page, "Sweep").get_by_role("button", name="Run now").click()
    expect(state(page)).to_contain_text("12 swept")


PAGES = ["", "runs", "activity", "setup", "task/Nightly", "task/Report", "task/Sweep"]


def assert_only_to_look(page: Page, console: str) -> None:
    """No page has anything that would change something, and no form is taken."""
    for path in PAGES:
        page.goto(f"{console}/{path}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        # (One may sign out, and filters of lists ask for nothing but a look.)
        assert page.locator("form[method=post]:not([action$=sign-out])").locator("button, input").count() == 0
        assert page.get_by_text(re.compile("Run now|Run …|Hold|Stop")).count() == 0
    post = """address => fetch(address, { method: "POST", body: new URLSearchParams({ run: "Sweep" }) })
        .then(answer => answer.status)"""
    assert page.evaluate(post, f"{console}/") == 403


def test_who_has_a_link_to_look_cannot_touch_anything(visits, shop, tasks):
    before = len(shop.runs())
    page = visits().sign_in(shop.command("console", "--read", "--url", tasks).split()[-1])

    assert_only_to_look(page, tasks)
    assert len(shop.runs()) == before


def test_the_site_itself_may_say_who_somebody_is(visits, shop, host):
    known = f"http://{host}/known"

    # One that it does not know
    page = visits().page
    assert page.goto(known + "/").status == 403
    expect(page.locator("main")).to_contain_text("it does not know you")

    # One who may look
    before = len(shop.runs())
    assert_only_to_look(visits(extra_http_headers={"X-Role": "read"}).page, known)
    assert len(shop.runs()) == before

    # And one who may act, under their own name; there is nothing to sign out of
    page = visits(extra_http_headers={"X-Role": "write"}).page
    page.goto(known + "/")
    assert page.get_by_role("button", name="Sign out").count() == 0
    row(page, "Sweep").get_by_role("button", name="Run now").click()
    expect(page.locator("#facts")).to_contain_text("the console hedda")


# -- Where it is --------------------------------------------------------------------------------


def walk(page: Page, console: str) -> None:
    """Go to every page by its links, act, and come back."""
    for name in ("Runs", "Activity", "Setup", "Tasks"):
        page.get_by_label("Console").get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(name)
    row(page, "Sweep").get_by_role("link", name="Sweep").click()
    page.get_by_role("button", name="Run now").click()
    expect(page).to_have_url(re.compile(rf"^{re.escape(console)}/runs/\w{{26}}$"))
    page.locator(".way").get_by_role("link", name="Sweep").click()
    form = in_form(page, "Hold …")
    form.get_by_role("button", name="Hold it").click()
    expect(state(page)).to_contain_text("held by")
    page.get_by_role("button", name="Resume").click()
    expect(state(page)).not_to_contain_text("held by")
    page.get_by_role("link", name="all runs").click()
    expect(page.locator("#list")).to_contain_text("Sweep")
    page.get_by_role("link", name="dracotask").click()
    expect(page).to_have_url(console + "/")
    background = page.evaluate("getComputedStyle(document.querySelector('button')).cursor")
    assert background == "pointer", "the style sheet was found"
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading")).to_have_text("The console is closed")


@pytest.mark.parametrize("mount", ["/tasks", "/a/b/c"])
def test_the_console_works_wherever_it_is_mounted(visits, shop, host, mount):
    visit = visits()
    console = f"http://{host}{mount}"
    page = visit.sign_in(shop.link(console))

    # Without the slash one is sent on
    page.goto(f"{console}?state=failed")
    assert page.url == f"{console}/?state=failed"
    page.goto(console)
    walk(page, console)


def test_the_console_works_alone_at_the_root(site, visits):
    site.write("class Sweep(Task):", "    def run(self): pass")
    assert site.run("load").returncode == 0
    alone = Alone(site)

    walk(visits(alone.host).sign_in(alone.link), alone.address)
    alone.end()


@pytest.mark.parametrize("tells", [True, False], ids=["it says so", "it says nothing"])
def test_the_console_works_behind_a_proxy_that_adds_a_prefix(visits, shop, server, tells):
    with Proxy(server.port, tells=tells) as proxy:
        console = f"http://{proxy.host}/front/tasks"
        page = visits(proxy.host).sign_in(shop.link(console))
        page.goto(console)
        walk(page, console)
        page.context.close()


# -- Without JavaScript -------------------------------------------------------------------------


def test_every_action_works_without_javascript(visits, shop, tasks):
    page = visits(java_script_enabled=False).sign_in(shop.link(tasks))
    (shop.path / "bank").unlink(missing_ok=True)
    (shop.path / "news").unlink(missing_ok=True)

    def press(name: str) -> None:
        with page.expect_navigation():
            page.get_by_role("button", name=name, exact=True).click()

    def reload_until(words: str) -> None:
        wait_until(lambda: page.reload() and words in state(page).inner_text(), words, 30)

    # Run, with arguments and without; try again
    at_task(page, tasks, "Report").locator("summary", has_text="Run now …").click()
    page.get_by_label("days").fill("2")
    press("Run now")
    reload_until("2 days")
    press("Run again")
    reload_until("2 days")
    at_task(page, tasks, "Flaky")
    press("Run now")
    reload_until("failed")
    press("Retry")
    at_task(page, tasks, "Again")
    press("Run now")
    wait_until(lambda: page.reload() and page.get_by_role("button", name="Retry now").count(), "it waits", 30)
    press("Retry now")
    expect(page.locator("#facts")).to_contain_text("Attempt")

    # Once more, and stop
    at_task(page, tasks, "Endless")
    press("Run now")
    reload_until("running")
    at_task(page, tasks, "Endless")
    press("Once more afterwards")
    shop.command("hold", "Endless")
    page.reload()
    in_form(page, "Stop …")
    press("Stop it")
    shop.wait_for_run("Endless", "stopped")
    shop.command("resume", "Endless")

    # Hold, resume, skip, reschedule and back
    for summary, button in (("Hold …", "Hold it"), ("", "Resume"), ("Skip next …", "Skip it")):
        at_task(page, tasks, "Nightly")
        if summary:
            in_form(page, summary)
        press(button)
        expect(page).to_have_url(re.compile("/task/Nightly$"))
    in_form(page, "Reschedule …").get_by_label("Rule").fill("every 5h")
    press("Reschedule it")
    in_form(page, "Reschedule …")
    press("Back to the file's rule")
    expect(page.locator("#facts")).to_contain_text("at 03:00 on January 1")

    # Remove, and the whole site
    shop.command("add", "coffee", "Pages")
    in_form(at_task(page, tasks, "coffee"), "Remove …")
    press("Remove it")
    for summary, button in (("Hold the whole site", "Hold everything"), ("Resume the whole site", "Resume everything")):
        in_form(page, summary)
        press(button)
    expect(page.locator(".banner")).to_have_count(0)

    # Filters and a form that cannot be met
    page.get_by_label("Search").fill("rates of a bank")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    in_form(at_task(page, tasks, "Sweep"), "Reschedule …").get_by_label("Rule").fill("nonsense")
    press("Reschedule it")
    expect(note(page)).to_be_visible()
    expect(page.get_by_label("Rule")).to_have_value("nonsense")

    # Then all of it is on record, under the name of who did it
    deeds = {(bool(action.schedule), action.verb) for action in shop.actions(None) if action.by == "anna"}
    verbs = {"run_now", "retry_now", "stop", "demand", "hold", "resume", "skip_next", "reschedule", "remove"}
    assert deeds >= {(True, verb) for verb in verbs} | {(False, "hold"), (False, "resume")}


# -- What a page may do -------------------------------------------------------------------------


def test_what_the_policy_forbids_is_heard(browser, shop, tasks, host):
    # Given the same visit as in all the other tests
    visit = Visit(browser, host)
    page = visit.sign_in(shop.link(tasks))
    visit.assert_undisturbed()

    # When a page would run a line of its own, and have a picture from elsewhere
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "window.isMine = true";
        document.body.append(script);
        const picture = new Image();
        picture.src = "http://elsewhere.test/pixel.png";
    }""")

    # Then the browser does not let it, and each is noted
    # (To ask the page something is what lets Playwright hear the browser.)
    wait_until(lambda: page.title() and len(visit.violations) >= 4, "the page and its console tell both")
    assert page.evaluate("window.isMine") is None
    assert any("script-src" in words for words in visit.violations)
    assert any("img-src" in words and "elsewhere.test" in words for words in visit.violations)

    # And so would be what the policy allows, and is not of this host
    page.goto("about:blank")
    with pytest.raises(Exception, match="ERR_NAME_NOT_RESOLVED"):
        page.goto("http://elsewhere.test/")
    assert visit.strangers == ["http://elsewhere.test/pixel.png", "http://elsewhere.test/"]
    visit.close()


# -- How it looks, and who can use it -----------------------------------------------------------


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    with Gallery(tmp_path_factory.mktemp("gallery")) as gallery:
        yield gallery


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pictures of all pages go, for people to look at."""
    folder = tmp_path_factory.mktemp("pictures")
    print(f"\nPictures of all pages of the console: {folder}")
    return folder


@pytest.fixture(scope="module")
def gallery_page(browser: Browser, gallery: Gallery) -> Iterator[Page]:
    visit = Visit(browser, gallery.host)
    yield visit.sign_in(gallery.link)
    visit.close()
    visit.assert_undisturbed()


#: Each page in each of its moods, by what stands in its address.
SHOWN = {
    "tasks": "", "tasks-none": "?q=nothing", "task": "task/Nightly", "task-held": "task/Pages?ask=reschedule",
    "task-running": "task/Import?ask=stop", "run-ok": "runs/Sweep", "run-failed": "runs/Flaky",
    "run-running": "runs/Import?ask=stop", "run-waiting": "runs/Again", "runs": "runs", "activity": "activity",
    "setup": "setup", "no-such-page": "nowhere",
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_everybody_can_read_every_page(gallery, gallery_page, pictures, name):
    status = 404 if name == "no-such-page" else 200
    look_at(gallery_page, gallery.address_of(SHOWN[name]), pictures / name, status=status)


@pytest.mark.parametrize("name", ["closed", "sign-in", "untouched"])
def test_everybody_can_read_what_strangers_see(visits, gallery, site, pictures, name):
    alone = None
    address = {"closed": gallery.address + "/", "sign-in": gallery.shop.link(gallery.address)}.get(name)
    visit = visits(gallery.host)
    if address is None:
        site.write("class Sweep(Task):", "    def run(self): pass")
        alone = Alone(site)
        visit.hosts += (alone.host,)
        visit.sign_in(alone.link)
        address = alone.address + "/"

    look_at(visit.page, address, pictures / name, status=403 if name == "closed" else 200)
    if alone is not None:
        alone.end()


def look_at(page: Page, address: str, picture: Path, *, status: int) -> None:
    """Look at a page in both themes, on a desk and on phones: nothing is cut off, and axe finds no fault."""
    faults = {}
    answer = page.goto(address)
    assert answer is not None and answer.status == status
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for width in (1180, 420, 320):
            page.set_viewport_size({"width": width, "height": 800})
            place = f"{theme} at {width} px"
            beyond = page.evaluate(BEYOND)
            if beyond:
                faults[f"beyond the edge, {place}"] = beyond
            if width != 320:
                page.screenshot(path=f"{picture}-{theme}-{width}.png", full_page=True)
                faults.update({f"{fault}, {place}": where for fault, where in axe(page).items()})
    assert faults == {}


#: What makes the page wider than the window; a <pre> may scroll within itself.
BEYOND = """() => document.documentElement.scrollWidth <= innerWidth ? null : [...document.querySelectorAll("body *")]
    .filter(each => each.getBoundingClientRect().right > innerWidth && !each.closest("pre"))
    .map(each => each.outerHTML.slice(0, 120)).slice(0, 5)"""


def axe(page: Page) -> dict[str, list[str]]:
    """Return what axe-core finds wrong with a page, and where, by all its rules: WCAG's, and those of good practice.

    (It comes in by the debugger's door, where no policy stands.)
    """
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate("axe.run({ resultTypes: ['violations'] }).then(found => found.violations)")
    return {fault["id"]: [_in_words(node) for node in fault["nodes"]] for fault in found}


def _in_words(node: dict[str, str]) -> str:
    return f"{node['html'][:160]} {node['failureSummary'][:300]}"


def test_axe_would_find_a_fault(gallery, gallery_page):
    gallery_page.goto(gallery.address_of("activity"))
    gallery_page.evaluate("""() => {
        document.documentElement.removeAttribute("lang");
        document.querySelector("main").insertAdjacentHTML("beforeend", "<input><img src='data:,'>");
    }""")

    assert {"html-has-lang", "label", "image-alt"} <= set(axe(gallery_page))


def test_with_the_keyboard_alone_one_gets_everywhere(page, shop, tasks):
    def focused() -> str:
        return page.evaluate(FOCUSED)

    def tab_to(words: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if focused() == words:
                assert page.evaluate(VISIBLE), f"it shows that {words} is in focus"
                return
        pytest.fail(f"There is no way to {words!r}")

    # The first stop leads past what is on every page
    page.goto(f"{tasks}/task/Nightly")
    page.keyboard.press("Tab")
    assert focused() == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert focused() == "Tasks" and page.evaluate("document.activeElement.closest('main') !== null")

    # All that can be done is on the way, and opens with Enter
    for words in ("Run now", "Hold …", "Skip next …", "Reschedule …", "all runs", "Its source, __tasks__.py:35"):
        if words == "all runs" and not shop.runs("Nightly"):
            continue
        tab_to(words)
    page.goto(f"{tasks}/task/Nightly")
    tab_to("Hold …")
    page.keyboard.press("Enter")
    tab_to("until")
    page.keyboard.type("2036-01-31 14:00")
    tab_to("why")
    page.keyboard.type("by hand alone")
    page.keyboard.press("Enter")
    expect(state(page)).to_contain_text("by hand alone")
    tab_to("Resume")
    page.keyboard.press("Enter")
    expect(state(page)).not_to_contain_text("by hand alone")

    # And in the list, and at the foot of the page
    page.goto(tasks + "/")
    for words in ("q", "state", "Show", "Nightly", "Hold the whole site …", "Live", "Theme", "Sign out"):
        tab_to(words)


#: The element in focus: a field by its name, all else by its words.
FOCUSED = """() => {
    const element = document.activeElement;
    return ["INPUT", "SELECT"].includes(element.tagName) ? element.name : element.innerText.trim();
}"""

#: Whether one sees which element is in focus.
VISIBLE = """() => {
    const style = getComputedStyle(document.activeElement);
    return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
}"""


def test_a_live_page_takes_nothing_out_of_ones_hands(page, shop, tasks):
    # Given somebody who types into a form of a page that changes meanwhile, and reads the source
    at_task(page, tasks, "Sweep").locator("summary", has_text="Its source").click()
    why = in_form(page, "Hold …").get_by_label("Why")
    why.focus()
    page.keyboard.type("because the")
    before = page.locator("#history").inner_html()

    # When the task is run and rescheduled elsewhere, and the page shows that
    shop.command("Sweep")
    shop.command("skip-next", "Sweep")
    look_until(page, lambda: page.locator("#history").inner_html() != before)
    expect(page.locator("#done")).to_contain_text("skipped")

    # Then they go on as if nothing had been
    expect(why).to_be_focused()
    page.keyboard.type(" disk is full")
    expect(why).to_have_value("because the disk is full")
    assert page.locator("details[open]").count() == 2

    # And what could not be shown while they were at it comes when they have done
    page.locator("summary", has_text="Hold …").click()
    page.locator("h1").click()
    page.evaluate("document.activeElement.blur()")
    shop.command("hold", "Sweep")
    resume = page.get_by_role("button", name="Resume")
    look_until(page, lambda: resume.count() == 1)
    resume.click()
    expect(page.locator("summary", has_text="Hold …")).to_be_visible()


def test_what_is_not_live_any_more_says_so_and_stays_as_it_is(page, shop, tasks):
    # Given somebody who wants the page to hold still
    live = page.get_by_role("button", name="Live")
    live.click()
    expect(live).to_have_attribute("aria-pressed", "false")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    # Then it asks for nothing, here and after the next click, until it is to be live again
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.get_by_label("Console").get_by_role("link", name="Runs").click()
    expect(live).to_have_attribute("aria-pressed", "false")
    asked.clear()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert page.title() and asked == []
    with page.expect_request(tasks + "/runs"):
        live.click()


def test_the_theme_is_ones_own_choice_and_stays(page, tasks):
    ground = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(ground)

    page.get_by_role("button", name="Theme").click()
    dark = page.evaluate(ground)
    page.goto(f"{tasks}/setup")
    assert page.evaluate(ground) == dark != light

    page.get_by_role("button", name="Theme").click()
    assert page.evaluate(ground) == light
