"""The two pages that people see: they say nothing of the recipient, because links are forwarded."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

_FRAME = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 0; font: 1.125rem/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; }}
main {{ max-width: 32rem; margin: 15vh auto 0; padding: 0 1.5rem; }}
button {{ font: inherit; padding: .6em 1.4em; border: 0; border-radius: .3em; background: #1a4fa3; color: #fff; }}
button:focus-visible {{ outline: 3px solid #1a1a1a; outline-offset: 3px; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""

ASK = _FRAME.format(
    title="Unsubscribe",
    content="""<p>You will not get messages of this kind at this address any more.</p>
<form method="post">
<input type="hidden" name="List-Unsubscribe" value="One-Click">
<input type="hidden" name="page" value="1">
<button type="submit">Unsubscribe</button>
</form>""",
)
"""Shown to GET."""

DONE = _FRAME.format(
    title="You are unsubscribed",
    content='<p role="status">It may take a few minutes until it counts everywhere. You can close this page.</p>',
)
"""Shown when it is done."""
