"""`tagf plot-page`."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli import options

# What DVC's plots call.
_SNIPPET = "window.vegaEmbed = vegaEmbed;"

# Placeholders in braces are DVC's own; `{scripts}` is left out on purpose: it loads the library from a CDN.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
{{refresh_tag}}
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TAGF: training curves and predictions</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }}
</style>
<script>{library}</script>
</head>
<body>
<h1>Training curves and predictions</h1>
<p>Written by <code>dvc plots show</code>. Everything the page needs is inside it.</p>
{{plot_divs}}
</body>
</html>
"""


@click.command("plot-page")
@click.argument("out", type=options.OUT)
def command(out: Path) -> None:
    """Write the HTML template OUT with the plot library inside, for DVC's plots.html_template.

    \b
    Example:
        tagf plot-page runs/plot_page.html
    """
    import vl_convert

    # DVC's plots are Vega-Lite 5; a closing script tag inside the library would end the element early.
    library = vl_convert.javascript_bundle(_SNIPPET, "5.20").replace("</script", "<\\/script")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(_PAGE.format(library=library), encoding="utf-8")
