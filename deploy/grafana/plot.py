#!/usr/bin/env python3
"""Plots the panels of kafka.json from a Prometheus' data, laid out like the dashboard, into one picture.

It needs matplotlib (pip install matplotlib) and a Prometheus that scrapes a service:

    python3 plot.py http://localhost:9090                          # the last hour, into dashboard.png
    python3 plot.py http://localhost:9090 --minutes 15 --out x.png
    python3 plot.py http://localhost:9090 --start 1760000000 --end 1760000600 --rate-interval 30s

It is a way to see that each query has data, and to get a picture without a Grafana. Variables are set to All. It ends with
status 1 and names the panels if some have no data.
"""

import argparse
import json
import math
import pathlib
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime, timezone

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.dates import DateFormatter, date2num
from matplotlib.patches import Rectangle
from PIL import Image  # comes with matplotlib

PAGE, PANEL, EDGE, TEXT, FAINT = "#111217", "#181b1f", "#2c3235", "#d8d9da", "#8e9297"
NAMED = {"green": "#73bf69", "yellow": "#f2cc0c", "red": "#f2495c", "blue": "#5794f2", "purple": "#b877d9", "orange": "#ff9830"}
PALETTE = ["#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0", "#508642", "#cca300"]
WIDTH, UNIT = 1600, 31  # the picture's pixels, and those of one step of the dashboard's grid
SUFFIX = {"recps": " rec/s", "mps": " msg/s", "ops": "/s", "epm": "/min"}


def query(url, expr, start, end, step):
    """Returns [(labels, times, values)] of a range query."""
    form = urllib.parse.urlencode({"query": expr, "start": start, "end": end, "step": step}).encode()
    try:
        with urllib.request.urlopen(url.rstrip("/") + "/api/v1/query_range", form) as answer:
            result = json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as err:
        sys.exit(f"{expr}\n{err.read().decode()}")
    series = []
    for one in result:
        values = {float(t): float(v) for t, v in one["values"]}
        times = [start + i * step for i in range(int((end - start) / step) + 1)]  # a gap is shown as one
        series.append((one["metric"], times, [values.get(t, math.nan) for t in times]))
    return series


def legend(pattern, labels):
    for name, value in labels.items():
        pattern = pattern.replace("{{" + name + "}}", value)
    while "{{" in pattern:  # a label that the series does not have
        head, _, rest = pattern.partition("{{")
        pattern = head + rest.partition("}}")[2]
    return pattern.strip()


def short(value, unit):
    """Writes a value as Grafana's units do."""
    if math.isnan(value):
        return ""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        if value == 0:
            return "0 s"
        return f"{1000 * value:.3g} ms" if abs(value) < 1 else f"{value:.3g} s" if abs(value) < 120 else f"{value / 60:.3g} min"
    if unit in ("bytes", "Bps"):
        for scale, prefix in ((1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki"), (1, "")):
            if abs(value) >= scale or scale == 1:
                return f"{value / scale:.3g} {prefix}B" + ("/s" if unit == "Bps" else "")
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g} M" + SUFFIX.get(unit, "")
    if abs(value) >= 1e4:
        return f"{value / 1e3:.3g} K" + SUFFIX.get(unit, "")
    return (f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}") + SUFFIX.get(unit, "")


def color_of(panel, value):
    for mapping in panel["fieldConfig"]["defaults"]["mappings"]:
        if (option := mapping["options"].get(f"{value:g}")) is not None:
            return option["text"], NAMED[option["color"]]
    color = "green"
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    return None, NAMED[color]


def last(values):
    known = [v for v in values if not math.isnan(v)]
    return known[-1] if known else math.nan


def stat(fig, panel, series, box):
    left, bottom, width, height = box
    unit = panel["fieldConfig"]["defaults"]["unit"]
    if len(series) == 1 and panel["options"]["graphMode"] == "area":
        ax = fig.add_axes([left, bottom, width, height * 0.35])
        _, times, values = series[0][1]
        color = color_of(panel, last(values))[1]
        ax.fill_between(times, values, color=color, alpha=0.25, linewidth=0)
        ax.plot(times, values, color=color, linewidth=0.8)
        ax.set_ylim(bottom=0)
        ax.set_xlim(times[0], times[-1])
        ax.axis("off")
    for i, (name, (_, _, values)) in enumerate(series):
        text, color = color_of(panel, last(values))
        x = left + width * (i + 0.5) / len(series)
        fig.text(x, bottom + height * 0.5, text or short(last(values), unit), color=color, fontsize=17, ha="center", va="center")
        if len(series) > 1:
            fig.text(x, bottom + height * 0.22, name, color=FAINT, fontsize=8, ha="center", va="center")


def graph(fig, panel, series, box):
    left, bottom, width, height = box
    defaults = panel["fieldConfig"]["defaults"]
    custom, unit = defaults["custom"], defaults["unit"]
    columns = 3 if len(series) > 6 else 2 if len(series) > 3 else 1
    lines = math.ceil(len(series) / columns)
    entry = 12.5 / fig_height  # of a legend's line, of the picture
    floor = bottom + entry * lines + 24 / fig_height
    pad = 58 / WIDTH
    ax = fig.add_axes([left + pad, floor, width - pad - 12 / WIDTH, bottom + height - floor - 26 / fig_height], facecolor=PANEL)
    times = [date2num(datetime.fromtimestamp(t, timezone.utc)) for t in series[0][1][1]]
    fixed = {o["matcher"]["options"]: NAMED[o["properties"][0]["value"]["fixedColor"]] for o in panel["fieldConfig"]["overrides"]}
    colors = [fixed.get(name, PALETTE[i % len(PALETTE)]) for i, (name, _) in enumerate(series)]
    rows = [values for _, (_, _, values) in series]
    if custom["stacking"]["mode"] == "normal":
        ax.stackplot(times, [[0 if math.isnan(v) else v for v in row] for row in rows], colors=colors, alpha=0.7, linewidth=0)
    else:
        style = "steps-post" if custom["lineInterpolation"] == "stepAfter" else "default"
        for row, color in zip(rows, colors):
            ax.plot(times, row, color=color, linewidth=1, drawstyle=style)
    known = [v for row in rows for v in row if not math.isnan(v)]
    if not any(known):
        ax.set_ylim(0, 1)
    elif "min" in defaults:
        ax.set_ylim(bottom=0)
    if custom["thresholdsStyle"]["mode"] == "dashed":
        limit = ax.get_ylim()
        for step in defaults["thresholds"]["steps"]:
            if step["value"] is not None and step["value"] < limit[1]:
                ax.axhline(step["value"], color=NAMED[step["color"]], linewidth=0.7, linestyle="--")
        ax.set_ylim(limit)
    ax.set_xlim(times[0], times[-1])
    ax.xaxis.set_major_locator(plt.MaxNLocator(6))
    ax.xaxis.set_major_formatter(DateFormatter("%H:%M"))
    ax.yaxis.set_major_locator(plt.MaxNLocator(5))
    ax.yaxis.set_major_formatter(lambda v, _: short(v, unit))
    ax.tick_params(colors=FAINT, labelsize=7, length=0)
    ax.grid(color=EDGE, linewidth=0.5)
    for spine in ax.spines.values():
        spine.set_visible(False)
    for i, (name, (_, _, values)) in enumerate(series):
        x = left + 10 / WIDTH + (width - 16 / WIDTH) * (i // lines) / columns
        y = bottom + entry * (lines - i % lines) - 4 / fig_height
        fig.add_artist(Rectangle((x, y - 1 / fig_height), 9 / WIDTH, 2.5 / fig_height, color=colors[i]))
        end = "" if columns == 3 else "  " + short(last(values), unit)
        room = int((width * WIDTH - 16) / columns / 5.2) - len(end) - 3  # characters
        name = name if len(name) <= room else name[: room - 1] + "…"
        fig.text(x + 13 / WIDTH, y, name + end, color=TEXT, fontsize=6.6, ha="left", va="center")


def main():
    global fig_height
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("prometheus", help="its address, such as http://localhost:9090")
    args.add_argument("--minutes", type=float, default=60, help="how far back from --end (60)")
    args.add_argument("--end", type=float, default=time.time(), help="Unix time (now)")
    args.add_argument("--start", type=float, help="Unix time, in place of --minutes")
    args.add_argument("--rate-interval", default="1m", help="$__rate_interval: four scrapes or more (1m)")
    args.add_argument("--out", default="dashboard.png")
    args = args.parse_args()
    end = math.floor(args.end)
    start = math.floor(args.start if args.start is not None else end - 60 * args.minutes)
    step = max(1, math.ceil((end - start) / 240))

    dashboard = json.loads(pathlib.Path(__file__).with_name("kafka.json").read_text())
    panels = dashboard["panels"]
    fig_height = UNIT * max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels) + 50
    fig = plt.figure(figsize=(WIDTH / 100, fig_height / 100), dpi=100, facecolor=PAGE)
    fig.text(14 / WIDTH, 1 - 24 / fig_height, dashboard["title"], color=TEXT, fontsize=14, va="center")
    empty = []
    for panel in panels:
        at = panel["gridPos"]
        left, width = (at["x"] / 24 * (WIDTH - 16) + 11) / WIDTH, (at["w"] / 24 * (WIDTH - 16) - 6) / WIDTH
        height = (UNIT * at["h"] - 6) / fig_height
        bottom = 1 - (46 + UNIT * at["y"]) / fig_height - height
        if panel["type"] == "row":
            fig.text(left, bottom + height / 2, "▾  " + panel["title"], color=TEXT, fontsize=10.5, va="center", weight="bold")
            continue
        fig.add_artist(Rectangle((left, bottom), width, height, facecolor=PANEL, edgecolor=EDGE, linewidth=0.8, zorder=-1))
        fig.text(left + 8 / WIDTH, bottom + height - 13 / fig_height, panel["title"], color=TEXT, fontsize=8.5, va="center")
        series = []
        for target in panel["targets"]:
            expr = target["expr"].replace("$__rate_interval", args.rate_interval)
            for name in ("group", "topic", "client_id"):
                expr = expr.replace("$" + name, ".*")
            found = [s for s in query(args.prometheus, expr, start, end, step) if not math.isnan(last(s[2]))]
            series += sorted(((legend(target["legendFormat"], s[0]), s) for s in found), key=lambda s: s[0])
        if not series:
            empty.append(panel["title"])
            fig.text(left + width / 2, bottom + height / 2, "No data", color=FAINT, fontsize=10, ha="center", va="center")
        elif panel["type"] == "stat":
            stat(fig, panel, series, (left, bottom, width, height))
        else:
            graph(fig, panel, series, (left, bottom, width, height))
    fig.savefig(args.out, facecolor=PAGE)
    Image.open(args.out).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(args.out, optimize=True)  # a third of the size
    if empty:
        sys.exit("no data: " + ", ".join(empty))


if __name__ == "__main__":
    main()
