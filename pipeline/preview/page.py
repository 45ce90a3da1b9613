"""The page that lists contact sheets. One file: no network, no scripts, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
:root { color-scheme: light dark; --paper: #fbfbfa; --text: #1d2126; --faint: #5d6570; --line: #dcdfe3;
        --bar: #2f8f5b; --track: #e6e8eb; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #17191d; --text: #e8eaee; --faint: #9ea4ae; --line: #33373e; --bar: #5ee68c;
          --track: #2c3036; --bad: #ff8b80; } }
body { margin: 0 auto; max-width: 1440px; padding: 24px; background: var(--paper); color: var(--text);
       font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; }
p { color: var(--faint); margin: 0 0 24px; max-width: 72ch; }
ol { list-style: none; margin: 0; padding: 0; }
li { border-top: 1px solid var(--line); padding: 16px 0 24px; }
h2 { font-size: 17px; margin: 0; overflow-wrap: anywhere; }
.facts { color: var(--faint); display: flex; flex-wrap: wrap; align-items: center; gap: 4px 12px;
         margin: 2px 0 10px; font-variant-numeric: tabular-nums; }
.bar { background: var(--track); border-radius: 4px; display: inline-block; height: 8px; width: 160px; }
.bar span { background: var(--bar); border-radius: 4px; display: block; height: 8px; }
.bad { color: var(--bad); overflow-wrap: anywhere; }
img { border-radius: 6px; display: block; height: auto; max-width: 100%; }
a:focus-visible { outline: 2px solid var(--bar); outline-offset: 2px; }
"""


@dataclass(frozen=True, kw_only=True)
class PageEntry:
    """One clip of the page.

    Attributes:
        clip_id: The clip.
        sheet: File name of its sheet, beside the page; None where there is none.
        num_frames: Its rows.
        num_face_frames: Rows with a face.
        status: What became of it in the run.
        error: Why it failed.
    """

    clip_id: str
    sheet: str | None
    num_frames: int
    num_face_frames: int
    status: str
    error: str | None

    @property
    def face_share(self) -> float:
        """Share of the rows with a face."""
        return self.num_face_frames / self.num_frames if self.num_frames else 0.0


def page(entries: Sequence[PageEntry]) -> str:
    """The page's text.

    Args:
        entries: The clips. Those with the smallest share of faces come first: they want looking at.
    """
    ordered = sorted(entries, key=lambda entry: (entry.face_share, entry.clip_id))
    num_frames = sum(entry.num_frames for entry in entries)
    num_faces = sum(entry.num_face_frames for entry in entries)
    failed = sum(entry.status == "failed" for entry in entries)
    share = f"{num_faces / num_frames:.1%}" if num_frames else "none"
    facts = f"{len(entries):,} clips, {num_frames:,} rows, {share} of them with a face"
    facts += f"; {failed:,} failed" if failed else ""
    items = "\n".join(_item(entry) for entry in ordered)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Contact sheets</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Contact sheets</h1>
<p>{facts}. Clips with the fewest faces come first. Each sheet shows frames spread evenly over the clip, with
the box that was found and its probability, and beside them the crop that the backbone is given.</p>
<ol>
{items}
</ol>
</body>
</html>
"""


def _item(entry: PageEntry) -> str:
    name = escape(entry.clip_id)
    percent = f"{entry.face_share:.1%}"
    facts = [
        f'<span class="bar" aria-hidden="true"><span style="width: {percent}"></span></span>',
        f"<span>{percent} of {entry.num_frames:,} rows with a face</span>",
    ]
    if entry.status not in ("extracted", "kept"):
        facts = [
            f'<span class="bad">{escape(entry.status)}: {escape(entry.error or "no error is known")}</span>'
        ]
    sheet = "" if entry.status == "failed" else '<div class="facts">no sheet</div>'
    if entry.sheet is not None:
        link = escape(entry.sheet)
        sheet = f'<a href="{link}"><img src="{link}" loading="lazy" alt="Contact sheet of {name}"></a>'
    return f'<li>\n<h2>{name}</h2>\n<div class="facts">{"".join(facts)}</div>\n{sheet}\n</li>'
