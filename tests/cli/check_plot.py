#!/usr/bin/env python3
"""Checks the SVG of a search against the JSON object of the same call.

    check_plot.py PLOT.svg RESULT.json

The axes are read from the labels of their ticks alone; every choice of the object must
have its disc where those say, the measured and the chosen ones too, and there may be no
other disc. Prints how many choices there are.
"""
import json
import math
import sys
import xml.etree.ElementTree as ET

SVG = "{http://www.w3.org/2000/svg}"
BASELINE = 4  # a label's text begins that much below its tick


def ticks(root, axis):
    """Value and place of each label of an axis."""
    group = next(g for g in root.iter(SVG + "g") if g.get("class") == axis)
    place = "x" if axis == "x" else "y"
    shift = 0 if axis == "x" else BASELINE
    return [(float(t.text.replace(",", "")), float(t.get(place)) - shift)
            for t in group.iter(SVG + "text")]


def line(points):
    """The line through the first and the last point, as a function."""
    (v0, p0), (v1, p1) = points[0], points[-1]
    return lambda v: p0 + (p1 - p0) * (v - v0) / (v1 - v0)


def discs(root):
    """Of each series by its name, the centres."""
    found = {}
    for group in root.iter(SVG + "g"):
        title = group.find(SVG + "title")
        if title is not None:
            found[title.text] = [(float(c.get("cx")), float(c.get("cy")))
                                 for c in group.iter(SVG + "circle")]
    return found


def expect(name, found, wanted):
    if len(found) != len(wanted):
        sys.exit("%s: %d discs, %d choices" % (name, len(found), len(wanted)))
    for (x, y), (wx, wy) in zip(found, wanted):
        if abs(x - wx) > 0.1 or abs(y - wy) > 0.1:
            sys.exit("%s: a disc at %g,%g should be at %g,%g" % (name, x, y, wx, wy))


def main():
    root = ET.parse(sys.argv[1]).getroot()
    with open(sys.argv[2], encoding="utf-8") as f:
        choices = json.load(f)["choices"]
    x = line(ticks(root, "x"))
    log_y = line([(math.log(v), p) for v, p in ticks(root, "y")])

    def at(choice, kl):
        return x(choice["image_bytes"]), log_y(math.log(kl))

    modelled = [at(c, c["kl_modelled"]) for c in choices if c["kl_modelled"] > 0]
    measured = [at(c, c["kl_measured"]) for c in choices if "kl_measured" in c]
    chosen = [at(c, c.get("kl_measured", c["kl_modelled"])) for c in choices if c["chosen"]]
    for name, found in discs(root).items():
        kind = ("modelled" in name and modelled) or ("measured" in name and measured) or chosen
        expect(name, found, kind)
    print("%d choices, %d chosen" % (len(choices), len(chosen)))


main()
