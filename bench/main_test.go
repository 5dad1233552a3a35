package main

import (
	"os"
	"slices"
	"testing"
)

// A measurement runs this program again, which is the test's here.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == childFlag {
		childMain(os.Args[2])
		return
	}
	os.Exit(m.Run())
}

func TestChooseTakesNamesAndFamilies(t *testing.T) {
	all := workloads(customers)
	is := func(w workload, name string) bool { return w.name == name || w.family == name }
	names := func(list []workload) (names []string) {
		for _, w := range list {
			names = append(names, w.name)
		}
		return names
	}
	chosen, err := choose("slow,drain", all, is)
	if want := []string{"drain", "slow-1ms-uniform", "slow-1ms-zipf", "slow-10ms-uniform", "slow-10ms-zipf"}; err != nil || !slices.Equal(names(chosen), want) {
		t.Errorf("slow,drain is %v, %v; want %v", names(chosen), err, want)
	}
	if chosen, err := choose("", all, is); err != nil || len(chosen) != len(all) {
		t.Errorf("no names are %v, %v", names(chosen), err)
	}
	if chosen, err := choose("drain,typo", all, is); err == nil {
		t.Errorf("a typo is %v", names(chosen))
	}
}

func TestEveryContenderFitsTheReport(t *testing.T) {
	families := map[string]bool{}
	for _, w := range workloads(customers) {
		families[w.family] = true
		if !slices.ContainsFunc(w.columns, func(c column) bool { return c.title == w.plotted }) {
			t.Errorf("%s has no column %q to plot", w.name, w.plotted)
		}
	}
	for _, c := range contenders() {
		for _, family := range c.workloads {
			if !families[family] {
				t.Errorf("%s takes part in %q, which there is not", c.name, family)
			}
			if publishes := !slices.Contains([]string{"drain", "growth", "slow"}, family); publishes && (c.newPublisher == nil || c.producing == "") {
				t.Errorf("%s can't take part in %s", c.name, family)
			}
		}
	}
	if _, found := findContender(baseline); !found {
		t.Errorf("there is no %s to compare with", baseline)
	}
}
