package main

import (
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The plot has a panel for each workload and a bar for each contender: the median, and a line from the lowest round to the highest.
const (
	plotWidth   = 900
	barsFrom    = 150
	barsTo      = 720
	barHeight   = 16
	barStep     = 24
	panelHeader = 34
	panelGap    = 20

	ours, rival, ink = "#2563eb", "#94a3b8", "#0f172a"
)

type panel struct {
	title string
	bars  []bar
}

type bar struct {
	label             string
	low, middle, high float64
	ours              bool
}

// newPanel leaves out who failed.
func newPanel(w workload, list []series) panel {
	p := panel{title: fmt.Sprintf("%s, %s", w.name, w.plotted)}
	i := slices.IndexFunc(w.columns, func(c column) bool { return c.title == w.plotted })
	for _, s := range list {
		if s.failure != nil {
			continue
		}
		values := slices.Collect(maps.Values(s.values(w.columns[i])))
		p.bars = append(p.bars, bar{
			label: s.contender.name, ours: s.contender.module == library.module,
			low: slices.Min(values), middle: median(values), high: slices.Max(values),
		})
	}
	return p
}

func (p panel) height() int { return panelHeader + barStep*len(p.bars) + panelGap }

func (p panel) highest() float64 {
	highest := 0.0
	for _, bar := range p.bars {
		highest = max(highest, bar.high)
	}
	return highest
}

// plot is an SVG document.
func plot(panels []panel) string {
	height := panelGap
	for _, p := range panels {
		height += p.height()
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12" fill="%s">`+"\n", plotWidth, height, ink)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, height)
	y := panelGap
	for _, p := range panels {
		draw(&b, p, y)
		y += p.height()
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func draw(b *strings.Builder, p panel, y int) {
	fmt.Fprintf(b, `<text x="10" y="%d" font-weight="bold">%s</text>`+"\n", y+14, escape(p.title))
	y += panelHeader
	scale := 0.0
	if highest := p.highest(); highest > 0 {
		scale = (barsTo - barsFrom) / highest
	}
	for _, bar := range p.bars {
		color := rival
		if bar.ours {
			color = ours
		}
		middle := y + barHeight/2
		x := func(v float64) float64 { return barsFrom + v*scale }
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, barsFrom-8, middle+4, escape(bar.label))
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, barsFrom, y, bar.middle*scale, barHeight, color)
		fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s" stroke-width="2"/>`, x(bar.low), middle, x(bar.high), middle, ink)
		fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`+"\n", x(bar.high)+8, middle+4, figure(bar.middle))
		y += barStep
	}
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}
