"""Flask on waitress with pages by fingerd's own templates: ``flask_server.py PORT TEMPLATES TITLE PEOPLE``.

People are a JSON object by login. Threads and limits are those that waitress has by default.
"""

# Flask and waitress are installed in another virtual environment, so their types are unknown here:
# mypy: ignore-errors

import json
import sys

from flask import Flask, abort, render_template
from markupsafe import Markup, escape
from waitress import serve

port, templates, title = int(sys.argv[1]), sys.argv[2], sys.argv[3]
people = json.loads(sys.argv[4])
app = Flask(__name__, template_folder=templates)
app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}


@app.get("/~<login>")
def page(login):
    """The page of a person."""
    person = people.get(login)
    if person is None:
        abort(404)
    name, path = person["name"], f"/~{login}"
    plan = {"heading": "Plan", "html": escape(person["plan"]), "css_class": "p-note"}
    plan["changed_rfc3339"], plan["changed"] = person["changed"]
    record = {
        "heading": name,
        "path": path,
        "fields": [{"label": "Login", "lines": [login], "css_class": "p-nickname"}],
        "texts": [plan],
    }
    card = render_template("record.html", record=record, name=login, here=path, level=1)
    hint = "A login name, spelled as its owner does: capital letters count."
    field = {"home": "/", "asked": "", "name_hint": hint, "name_characters": 1024}
    return render_template("person.html", title=title, name=name, records=[Markup(card)], path=path, **field)


serve(app, host="127.0.0.1", port=port)
