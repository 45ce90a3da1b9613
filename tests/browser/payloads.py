"""A hundred texts that run a script wherever a page takes them for more than text.

Each calls ``ran(NUMBER)``, or shows in what it does otherwise: a request, an error, another page.
"""

from __future__ import annotations

_CALL = "top.ran(%d)"

# As elements.
_ELEMENTS = (
    "<script>{call}</script>",
    "<SCRIPT>{call}</SCRIPT>",
    "<script/x>{call}</script>",
    "<script src='data:text/javascript,{call}'></script>",
    "<script src=//example.org/x.js></script>",
    "<script >{call}</script >",
    "<script type=module>{call}</script>",
    "<img src=x onerror='{call}'>",
    '<img src=x onerror="{call}">',
    "<img src=x onerror={call}>",
    "<img/src='x'/onerror={call}>",
    "<IMG SRC=x OnErRoR={call}>",
    "<img src=data:, onerror={call} alt=",
    "<image src=x onerror={call}>",
    "<svg onload={call}>",
    "<svg><script>{call}</script></svg>",
    "<svg><animate onbegin={call} attributeName=x dur=1s>",
    "<svg><set onbegin={call} attributename=x></svg>",
    "<svg><style>*{{fill:url(https://example.org/x.svg)}}</style><image href=//example.org/y.png /></svg>",
    "<svg><foreignObject><img src=x onerror={call}></foreignObject></svg>",
    "<math><mtext><img src=x onerror={call}></mtext></math>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;' src=x onerror={call}>",
    "<body onload={call}>",
    "<iframe src='javascript:{call}'></iframe>",
    "<iframe srcdoc='<script>{call}</script>'></iframe>",
    "<iframe src=https://example.org></iframe>",
    "<object data=https://example.org/x></object>",
    "<embed src=https://example.org/x>",
    "<video src=x onerror={call}></video>",
    "<video><source onerror={call}></video>",
    "<audio src=x onerror={call}>",
    "<details open ontoggle={call}><summary>x</summary></details>",
    "<input autofocus onfocus={call}>",
    "<select autofocus onfocus={call}>",
    "<textarea autofocus onfocus={call}>",
    "<button autofocus onfocus={call}>x</button>",
    "<a autofocus href=# onfocus={call}>x</a>",
    "<p tabindex=0 autofocus onfocus={call}>x</p>",
    "<style>@keyframes x{{}}</style><p style='animation-name:x' onanimationstart={call}>x</p>",
    "<style>@import 'https://example.org/x.css';</style>",
    "<style>*{{background:url(https://example.org/x.png)}}</style>",
    "<link rel=stylesheet href=https://example.org/x.css>",
    "<link rel=preload as=script href=https://example.org/x.js>",
    "<meta http-equiv=refresh content='0;url=https://example.org'>",
    "<base href=https://example.org/>",
    "<form action='javascript:{call}'><button>x</button></form>",
    "<a href='javascript:{call}'>click</a>",
    "<a onmousemove={call} style='position:fixed;inset:0'>x</a>",
    "<marquee><img src=x onerror={call}></marquee>",
    "<template><script>{call}</script></template>",
    "<noscript><p title='</noscript><img src=x onerror={call}>'>",
    "<dialog open><img src=x onerror={call}></dialog>",
    "<p contenteditable onpointerenter={call} style='position:fixed;inset:0'>x</p>",
    "<p onclick={call} style='position:fixed;inset:0;z-index:9'>x</p>",
)
# Out of an attribute, a comment, an element with text of its own, or a script.
_BREAKOUTS = (
    "'><script>{call}</script>",
    '"><script>{call}</script>',
    "`><script>{call}</script>",
    "' style='position:fixed;inset:0' onmouseover='{call}' x='",
    '" style="position:fixed;inset:0" onmouseover="{call}" x="',
    '" autofocus onfocus="{call}" tabindex="0',
    "' autofocus onfocus='{call}' tabindex='0",
    '" contenteditable autofocus onfocus="{call}" x="',
    "x onerror={call} ",
    "--><script>{call}</script><!--",
    "--!><script>{call}</script>",
    "<!--><script>{call}</script>",
    "]]><script>{call}</script>",
    "</title><script>{call}</script>",
    "</style><script>{call}</script>",
    "</textarea><script>{call}</script>",
    "</script><script>{call}</script>",
    "</SCRIPT ><script>{call}</script>",
    "</script\t><img src=x onerror={call}>",
    "</td></tr></table><script>{call}</script>",
    "</select><img src=x onerror={call}>",
    "</svg><img src=x onerror={call}>",
    '"}}]}};{call};//',
    "'}};{call};//",
    '\\"}};{call};//',
    "\\'}};{call};//",
    "';{call};'",
    '";{call};"',
    "`;{call};`",
    "${{{call}}}",
    "\\u003cimg src=x onerror={call}\\u003e",
    "\u2028{call}\u2029//",
)
# For what stands between a text and the screen: templates, formats of labels, entities, names of properties.
_INTERPRETED = (
    "{{{{ 7 * 191 }}}}",
    "{{% for x in (1).__class__.__mro__ %}}{{% endfor %}}",
    "{{{{ self.__init__.__globals__ }}}}",
    "%{{customdata}}<extra></extra><b>%{{x}}</b>",
    "<b>bold</b><a href='javascript:{call}'>label</a>",
    "<a href='https://example.org'>label</a><br>next",
    "<!--<script>",
    "\\u0022;{call}//",
    "&lt;script&gt;{call}&lt;/script&gt;",
    "&#60;img src=x onerror={call}&#62;",
    "javascript:{call}",
    "data:text/html,<script>{call}</script>",
    "__proto__",
    "constructor",
)

_TEMPLATES = (*_ELEMENTS, *_BREAKOUTS, *_INTERPRETED)
PAYLOADS = tuple(template.format(call=_CALL % number) for number, template in enumerate(_TEMPLATES))
INTERPRETED = PAYLOADS[-len(_INTERPRETED) :]
# Runs before the page's own scripts.
ON_START = "window.ranPayloads = []; window.ran = number => { window.ranPayloads.push(number) };"
