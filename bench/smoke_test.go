package main

import (
	"os"
	"strings"
	"testing"
)

func TestAChildThatFailsSaysWhy(t *testing.T) {
	_, err := runJob(t.Context(), job{Contender: "nobody"})
	if err == nil || !strings.Contains(err.Error(), `there is no contender "nobody"`) {
		t.Errorf("%v", err)
	}
}

// Every contender does every workload once, with few records, and all of them.
func TestAllContendersDoAllWorkloads(t *testing.T) {
	brokers := os.Getenv("KAFKA_BROKERS")
	if brokers == "" {
		t.Skip("KAFKA_BROKERS names no broker")
	}
	var some []workload
	for _, w := range workloads(2 * customers) {
		if w.family != "slow" || w.name == "slow-1ms-zipf" { // the others differ in numbers alone
			some = append(some, w)
		}
	}
	report, panels, err := run(t.Context(), options{brokers: strings.Split(brokers, ","), workloads: some, contenders: contenders(), rounds: 1})
	if err != nil {
		t.Error(err)
	}
	for i, w := range some {
		took := 0
		for _, c := range contenders() {
			if c.takesPartIn(w) {
				took++
			}
		}
		if len(panels) <= i || len(panels[i].bars) != took {
			t.Errorf("%s has not %d results", w.name, took)
		}
	}
	t.Log(report)
}
