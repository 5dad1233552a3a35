package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func rates(c contender, rates ...float64) series {
	s := series{contender: c, rounds: map[int]sample{}}
	for round, rate := range rates {
		s.rounds[round] = sample{result: result{Rate: rate, CPU: 2, CPUEach: 4, Allocs: 8, Peak: 9, Start: 1.5}}
	}
	return s
}

// The medians' own ratio is 3,000/2,000; round by round it is 1, 1.5 and 2.
func sampleSeries() (workload, []series) {
	broken := rates(saramaGroup, 1)
	broken.failure = errors.New("two\nlines <of text>")
	return drain(newBatch(uniformKeys, customers)), []series{rates(library, 1000, 3000, 4_000_000), rates(kgoPartitions, 1000, 2000, 2_000_000), broken}
}

func TestTheTableHasMediansRangesAndRatios(t *testing.T) {
	w, list := sampleSeries()
	got := table(w, list)
	for _, want := range []string{
		"## drain\n",
		"| contender | records/s | from–to | ratio | CPU s | CPU µs/record | ratio | allocs/record | ratio | peak MB | start s |\n",
		"| library | 3,000 | 1,000–4,000,000 | 1.50 | 2.00 | 4.00 | 1.00 | 8.00 | 1.00 | 9.00 | 1.50 |\n",
		"| kgo-partitions | 2,000 | 1,000–2,000,000 | 1.00 |",
		"\n**sarama failed**: two lines <of text>\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the table lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "| sarama |") {
		t.Errorf("sarama failed and has a row:\n%s", got)
	}
}

func TestWithoutABaselineThereAreNoRatios(t *testing.T) {
	w, list := sampleSeries()
	if got := table(w, list[:1]); !strings.Contains(got, "| library | 3,000 | 1,000–4,000,000 | – |") {
		t.Errorf("%s", got)
	}
}

func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00", 9.876: "9.88", 98.76: "98.8", 987.6: "988", 1234567: "1,234,567", 123456: "123,456"} {
		if got := figure(v); got != want {
			t.Errorf("%v prints as %q, not %q", v, got, want)
		}
	}
}

func TestThePlotIsXMLWithABarForEachContender(t *testing.T) {
	w, list := sampleSeries()
	list[0].contender.name = "<&>"
	got := plot([]panel{newPanel(w, list), newPanel(w, nil)})
	rects := 0
	texts := map[string]bool{}
	for decoder := xml.NewDecoder(strings.NewReader(got)); ; {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v:\n%s", err, got)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if token.Name.Local == "rect" {
				rects++
			}
		case xml.CharData:
			texts[string(token)] = true
		}
	}
	if rects != 3 { // the ground, and the two that did not fail
		t.Errorf("%d rectangles:\n%s", rects, got)
	}
	for _, want := range []string{"drain, records/s", "<&>", "kgo-partitions", "3,000"} {
		if !texts[want] {
			t.Errorf("the plot lacks %q:\n%s", want, got)
		}
	}
	// The highest round is at the right end.
	if !strings.Contains(got, `x2="720.0"`) || !strings.Contains(got, `width="0.4" height="16" fill="`+ours) {
		t.Errorf("the bars have the wrong lengths:\n%s", got)
	}
}
