package main

import (
	"strings"
	"testing"
)

func TestTheTallyTellsLostDoubledAndWrongRecords(t *testing.T) {
	const n = 3
	for name, c := range map[string]struct {
		numbers []int
		fault   string
	}{
		"each once, in any order": {[]int{2, 0, 1}, ""},
		"one lost":                {[]int{0, 1}, "2 records came, not 3"},
		"one doubled":             {[]int{0, 1, 1, 2}, "4 records came, not 3"},
		"one in another's place":  {[]int{0, 1, 1}, "the checksum differs"},
	} {
		t.Run(name, func(t *testing.T) {
			tally := newTally(newBatch(uniformKeys, n), 0)
			for _, number := range c.numbers {
				tally.add(newOrder(number, number, fixedTime))
			}
			err := tally.check()
			if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("the tally says %v, not %q", err, c.fault)
			}
		})
	}
}

func TestTheTallyIsDoneWithTheLastRecord(t *testing.T) {
	tally := newTally(newBatch(uniformKeys, 3), 2)
	for number := range 3 {
		select {
		case <-tally.done:
			t.Fatalf("done before record %d of 3", number+1)
		default:
		}
		tally.add(newOrder(number, number, fixedTime))
		select {
		case <-tally.reached:
		default:
			if number >= 1 {
				t.Fatalf("the milestone, 2, is not reached after %d", number+1)
			}
		}
	}
	<-tally.done
	if first := tally.firstAt(); first.Before(tally.made) || first.After(tally.last) {
		t.Errorf("first %v, last %v", first, tally.last)
	}
}
