"""How a report looks: on a phone, in both colour schemes, without motion, and to those who do not see it."""

from __future__ import annotations

from typing import Any

import pytest
from report_page import ReportPage
from watched_page import LAPTOP, PHONE

pytestmark = pytest.mark.browser

# Text, its colour, and the colours behind it from the outermost on; WCAG 2.2, 1.4.3.
CONTRASTS = """() => {
  const parse = (text) => {
    const numbers = (text.match(/[\\d.]+(e-?\\d+)?/g) || []).map(Number);
    if (text.startsWith("color(srgb")) return [...numbers.slice(0, 3).map(x => 255 * x), numbers[3] ?? 1];
    return [...numbers.slice(0, 3), numbers[3] ?? 1];
  };
  const over = (top, below) => [0, 1, 2].map(i => top[3] * top[i] + (1 - top[3]) * below[i]);
  const luminance = (colour) => {
    const linear = (share) => share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = colour.map(level => linear(level / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.closest("script, style, noscript, .sr-only, .hoverlayer, :disabled")) continue;
    const chain = [];
    for (let each = element; each; each = each.parentElement) chain.unshift(getComputedStyle(each));
    let behind = isDark ? [18, 18, 18] : [255, 255, 255];
    let opacity = 1;
    for (const style of chain) {
      behind = over(parse(style.backgroundColor), behind);
      opacity *= Number(style.opacity);
    }
    const style = getComputedStyle(element);
    const ink = parse(element instanceof SVGElement ? style.fill : style.color);
    const shown = over([ink[0], ink[1], ink[2], ink[3] * opacity], behind);
    const [high, low] = [luminance(shown), luminance(behind)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    found.push({
      text: text.slice(0, 40),
      where: element.id || element.className.baseVal || element.className || element.tagName,
      ratio: (high + 0.05) / (low + 0.05),
      needed: isLarge ? 3 : 4.5,
      size,
    });
  }
  return found;
}"""
OVERFLOW = """() => [...document.querySelectorAll("body *")].filter(each => {
  const box = each.getBoundingClientRect();
  if (!box.width || each.closest("script, svg, .sr-only")) return false;
  for (let around = each.parentElement; around; around = around.parentElement)
    if (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(around).overflowX)) return false;
  return box.right > innerWidth + 0.5 || box.left < -0.5;
}).map(each => each.outerHTML.slice(0, 100))"""


def assert_fits(report: ReportPage) -> None:
    page = report.page
    assert page.evaluate(OVERFLOW) == []
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    page.evaluate("scrollTo(500, 0)")
    assert page.evaluate("scrollX") == 0


@pytest.mark.parametrize(
    "size", [PHONE, {"width": 320, "height": 640}, LAPTOP, {"width": 1920, "height": 1080}]
)
def test_nothing_sticks_out_at_the_side(open_report, embedded, size):
    report = open_report(embedded, viewport=size)
    for summary in report.page.locator("summary").all():
        summary.click()
    assert_fits(report)
    report.choose("walk")
    report.settle()
    assert_fits(report)


def test_long_names_do_not_widen_a_phones_page(open_page, hostile_page):
    report = ReportPage(open_page(hostile_page, viewport=PHONE))
    for summary in report.page.locator("summary").all():
        summary.click()
    assert_fits(report)


def test_a_phone_works_by_touch(open_report, embedded):
    report = open_report(embedded, viewport=PHONE, has_touch=True, is_mobile=True)
    report.row("walk").tap()
    assert report.chosen() == "walk"
    report.wait_for_video()
    area = report.area("traces")
    assert area["width"] > 200
    x = area["x"] + 0.5 * area["width"]
    report.page.touchscreen.tap(x, area["y"] + 0.3 * area["height"])
    assert abs(report.frame_on_screen() - 25 * report.seconds_at("traces", x)) <= 1.5
    assert abs(report.cursor_on_chart_s() - report.cursor_s()) < 0.1


def test_what_is_to_be_touched_is_large_enough(open_report, embedded):
    page = open_report(embedded, viewport=PHONE, has_touch=True, is_mobile=True).page
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, nav a, input, select, summary, tr[data-clip]")]
          .filter(each => each.checkVisibility())
          .filter(each => {
            const box = (each.type === "checkbox" && each.closest("label") || each).getBoundingClientRect();
            return box.width < 24 || box.height < 24;
          }).map(each => each.outerHTML.slice(0, 80))"""
    )
    assert small == []


def assert_readable(report: ReportPage) -> None:
    found = report.page.evaluate(CONTRASTS)
    assert len(found) > 100
    faint = [each for each in found if each["ratio"] < each["needed"]]
    assert [(each["text"], each["where"], round(each["ratio"], 2)) for each in faint] == []
    assert [(each["text"], each["size"]) for each in found if each["size"] < 10] == []


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("switched", [False, True], ids=["by the system", "by the switch"])
def test_text_has_contrast(open_report, embedded, scheme, switched, size):
    other = {"light": "dark", "dark": "light"}[scheme]
    report = open_report(embedded, color_scheme=other if switched else scheme, viewport=size)
    if switched:
        for _ in range(3):
            report.page.click("#theme")
            if scheme in report.page.get_attribute("#theme", "aria-label"):
                break
    for summary in report.page.locator("summary").all():
        summary.click()
    report.settle()
    assert_readable(report)
    # It is the scheme that was asked for.
    behind = report.picture(0, 0, 4, 4).mean()
    assert (behind > 200) if scheme == "light" else (behind < 60)


def test_charts_follow_the_colour_scheme(open_report, embedded):
    report = open_report(embedded)
    report.choose("walk")
    report.settle()
    for scheme in ("dark", "light"):
        report.page.emulate_media(color_scheme=scheme)
        report.settle()
        assert_readable(report)


def test_nothing_moves_for_those_who_ask_for_that(open_report, embedded):
    page = open_report(embedded, reduced_motion="reduce").page
    moving = page.evaluate(
        """() => [...document.querySelectorAll("*")].filter(each => {
          const style = getComputedStyle(each);
          const takesTime = (list) => list.split(",").some(time => parseFloat(time) > 0.001);
          return style.scrollBehavior === "smooth" || takesTime(style.transitionDuration) ||
            (style.animationName !== "none" && takesTime(style.animationDuration));
        }).map(each => each.outerHTML.slice(0, 80))"""
    )
    assert moving == []
    page.click("nav a[href='#provenance']")
    first = page.evaluate("scrollY")
    page.wait_for_timeout(200)
    assert page.evaluate("scrollY") == first > 100


def test_links_lead_to_places_on_the_page(open_report, embedded):
    page = open_report(embedded, reduced_motion="reduce").page
    links: list[str] = page.evaluate(
        "[...document.querySelectorAll('a')].map(each => each.getAttribute('href'))"
    )
    assert len(links) >= 8
    for href in links:
        assert href.startswith("#")
        assert page.locator(href).count() == 1
        if page.locator(f"nav a[href='{href}']").count():
            page.click(f"nav a[href='{href}']")
            assert page.evaluate("location.hash") == href
            top = page.locator(f"{href} :is(h1, h2)").first.bounding_box()["y"]
            header = page.locator("header").bounding_box()
            assert header["y"] + header["height"] - 1 <= top < LAPTOP["height"], href


def test_structure(open_report, embedded):
    """What a screen reader goes by; WCAG 2.2, 1.3.1, 2.4.6, 3.1.1 and 4.1.2."""
    report = open_report(embedded)
    report.choose("walk")
    page = report.page
    facts: dict[str, Any] = page.evaluate(
        """() => {
          const all = (selector) => [...document.querySelectorAll(selector)];
          const headings = all("h1, h2, h3, h4, h5, h6").filter(each => each.checkVisibility());
          const parts = all("section, video, table, nav, [role=slider], [role=group], svg[role=img]");
          const ids = all("[id]").map(each => each.id);
          const named = (each) => each.getAttribute("aria-label") || each.getAttribute("aria-labelledby");
          return {
            lang: document.documentElement.lang,
            headings: headings.map(each => Number(each.tagName[1])),
            duplicates: ids.filter((id, at) => ids.indexOf(id) !== at),
            landmarks: ["main", "header", "nav", "footer"].map(name => all(name).length),
            lost: all("[aria-labelledby], [aria-describedby], [aria-controls], label[for]").flatMap(each =>
              ["aria-labelledby", "aria-describedby", "aria-controls", "for"].flatMap(name =>
                (each.getAttribute(name) || "").split(" ").filter(id => id && !document.getElementById(id)))),
            nameless: parts.filter(each => !named(each) && !each.querySelector("caption"))
              .map(each => each.outerHTML.slice(0, 80)),
            images: all("img:not([alt])").length,
            scopes: all("#clips-table th:not([scope])").length,
            jumps: all("[tabindex]").filter(each => each.tabIndex > 0).length,
            hidden: all("[aria-hidden=true]").filter(each =>
              each.querySelector("a, button, input, select, [tabindex]")).length,
            sorts: all("[aria-sort]").filter(each => each.tagName !== "TH").length,
          };
        }"""
    )
    assert facts["lang"] == "en"
    assert facts["headings"].count(1) == 1
    assert facts["headings"][0] == 1
    steps = zip(facts["headings"], facts["headings"][1:], strict=False)
    assert all(after <= before + 1 for before, after in steps), "a level of headings is left out"
    assert facts["landmarks"] == [1, 1, 1, 1]
    for name in ("duplicates", "lost", "nameless"):
        assert facts[name] == [], name
    for name in ("images", "scopes", "jumps", "hidden", "sorts"):
        assert facts[name] == 0, name


def test_what_can_be_used_has_a_name_and_a_role(open_report, embedded):
    """By the browser's own accessibility tree."""
    report = open_report(embedded)
    report.choose("walk")
    session = report.watched.context.new_cdp_session(report.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    used = (
        "button",
        "link",
        "textbox",
        "searchbox",
        "checkbox",
        "combobox",
        "slider",
        "table",
        "Video",
        "img",
    )
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    ]
    assert [role for role, name in found if role in used and not name.strip()] == []
    roles = [role for role, _ in found]
    assert {"button", "link", "slider", "table", "columnheader", "rowheader", "main", "navigation"} <= {
        *roles
    }
    levels = [name for role, name in found if role == "slider" and "time" in name.lower()]
    assert levels
