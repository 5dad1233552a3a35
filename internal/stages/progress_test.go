package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// left returns the names of the stages that a new run for the commit would run.
func left(t *testing.T, folder, commit string, fresh, goOn bool) string {
	t.Helper()
	p, err := loadProgress(folder, commit, fresh, goOn, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return names(p.unfinished(fourStages))
}

var fourStages = []stage{{name: "a"}, {name: "b"}, {name: "c"}, {name: "d"}}

// stoppedRun is the folder of a run for commit c1 that was stopped at its third stage.
func stoppedRun(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	p, err := loadProgress(folder, "c1", false, false, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []result{
		{Name: "a", State: passed, Commit: "c1", Seconds: 2, Keys: []string{"DONE 3 tests"}},
		{Name: "b", State: failed, Commit: "c1", Why: "exit status 1", Digest: "TestB"},
		{Name: "c", State: interrupted, Commit: "c1"},
	} {
		if err := p.record(r); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestARunContinuesAtItsFirstUnfinishedStage(t *testing.T) {
	folder := stoppedRun(t)
	if got := left(t, folder, "c1", false, false); got != "c, d" {
		t.Errorf("it continues with %s", got)
	}
	if got := left(t, folder, "c1", true, false); got != "a, b, c, d" {
		t.Errorf("afresh it begins with %s", got)
	}
}

func TestAnotherCommitIsAskedAbout(t *testing.T) {
	folder := stoppedRun(t)
	_, err := loadProgress(folder, "c2", false, false, time.Now())
	if !errors.Is(err, errOtherCommit) || !strings.Contains(err.Error(), "FRESH=1") || !strings.Contains(err.Error(), "CONTINUE=1") {
		t.Errorf("the error is %v", err)
	}
	if got := left(t, folder, "c2", false, true); got != "b, c, d" { // what failed may be mended
		t.Errorf("it goes on with %s", got)
	}
	if got := left(t, folder, "c2", true, false); got != "a, b, c, d" {
		t.Errorf("afresh it begins with %s", got)
	}
}

func TestANewRunNeedsNoDecision(t *testing.T) {
	folder := t.TempDir()
	p, err := loadProgress(folder, "c1", false, false, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.record(result{Name: "a", State: skipped}); err != nil { // nothing has finished
		t.Fatal(err)
	}
	if got := left(t, folder, "c2", false, false); got != "a, b, c, d" {
		t.Errorf("it begins with %s", got)
	}
}

func TestBrokenProgressIsAnError(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "progress.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadProgress(folder, "c1", false, false, time.Now()); err == nil || !strings.Contains(err.Error(), "FRESH=1") {
		t.Errorf("the error is %v", err)
	}
}

func TestTheSummaryNamesEachStagesCommit(t *testing.T) {
	folder := stoppedRun(t)
	p, err := loadProgress(folder, "c2", false, true, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p.Kafka = "4.9.9"
	latest := []result{
		{Name: "b", State: passed, Commit: "c2", Seconds: 3, Keys: []string{"a | b", "c"}},
		{Name: "c", State: skipped, Commit: "c2", Why: "no Docker"},
	}
	text := markdown(p, fourStages, p.inOrder(fourStages, latest))
	for _, want := range []string{
		"Commit `c2`", "Kafka 4.9.9",
		"| a | passed (at `c1`) | 2 | DONE 3 tests |",
		`| b | passed | 3 | a \| b<br>c |`,
		"| c | **skipped**: no Docker | 0 |  |",
		"| all | | 5 | |",
		"Not run: d.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the summary lacks %q:\n%s", want, text)
		}
	}
}
