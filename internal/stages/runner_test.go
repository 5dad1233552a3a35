//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell is a stage that runs a script.
func shell(name, script string) stage {
	return stage{name: name, estimate: time.Second, commands: []command{{args: []string{"sh", "-c", script}}}}
}

func maybe(s stage) stage { s.optional = true; return s }

// newTestRunner returns a runner, and what it prints.
func newTestRunner(t *testing.T) (*runner, *bytes.Buffer) {
	t.Helper()
	out := &bytes.Buffer{}
	return &runner{
		root: t.TempDir(), logs: t.TempDir(), commit: "c0", out: out, began: time.Now(), now: time.Now,
		clusters: newClusters("", t.TempDir()),
	}, out
}

// states runs the stages, and returns how each ended, by its name.
func states(ctx context.Context, r *runner, stages []stage) (results []result, text string) {
	var words []string
	r.run(ctx, stages, func(res result) {
		results = append(results, res)
		words = append(words, res.Name+" "+string(res.State))
	})
	return results, strings.Join(words, ", ")
}

func TestTheFirstFailureEndsARun(t *testing.T) {
	stages := []stage{shell("a", "echo fine"), shell("b", "echo no good; exit 3"), shell("c", "true")}
	r, out := newTestRunner(t)
	results, text := states(t.Context(), r, stages)
	if text != "a passed, b failed" {
		t.Errorf("%s\n%s", text, out)
	}
	out.Reset()
	printTable(out, stages, results)
	printFailures(out, results)
	if !strings.Contains(out.String(), "not run: c") || !strings.HasSuffix(out.String(), "no good\n") {
		t.Errorf("the end of the output:\n%s", out)
	}
	if err := verdictOf(results); err == nil || err.Error() != "b: failed" {
		t.Errorf("the verdict is %v", err)
	}

	r, out = newTestRunner(t)
	r.goesOn = true
	if _, text := states(t.Context(), r, stages); text != "a passed, b failed, c passed" {
		t.Errorf("a run that goes on: %s\n%s", text, out)
	}
}

func TestAFailedCommandEndsItsStage(t *testing.T) {
	s := shell("a", "exit 1")
	s.commands = append(s.commands, command{args: []string{"echo", "the second"}})
	r, out := newTestRunner(t)
	if _, text := states(t.Context(), r, []stage{s}); text != "a failed" || strings.Contains(out.String(), "\nthe second") {
		t.Errorf("%s\n%s", text, out)
	}
}

func TestOptionalStagesThatDoNotFitAreSkipped(t *testing.T) {
	at := time.Now()
	r, _ := newTestRunner(t)
	r.now = func() time.Time { return at }
	r.began, r.deadline = at, at.Add(100*time.Second)
	must := stage{name: "must", estimate: 60 * time.Second, commands: []command{run("true")}}
	small := maybe(stage{name: "small", estimate: 30 * time.Second, commands: []command{run("true")}})
	large := maybe(stage{name: "large", estimate: 50 * time.Second, commands: []command{run("true")}})
	if why := r.skips(small, []stage{must}); why != "" {
		t.Errorf("a stage that fits is skipped: %s", why)
	}
	if why := r.skips(large, []stage{must}); !strings.Contains(why, "50s on this machine now, and 40s are left") {
		t.Errorf("a stage that leaves no time for one that must run: %q", why)
	}
	r.estimated, r.took = 10*time.Second, 20*time.Second // the machine is half as fast
	if why := r.skips(small, nil); why != "" {
		t.Errorf("60 s of 100 s: %s", why)
	}
	if why := r.skips(small, []stage{small, must}); !strings.Contains(why, "1m on this machine now, and 0s are left") {
		t.Errorf("a slow machine has no time: %q", why)
	}
	if why := r.skips(must, nil); why != "" {
		t.Errorf("a stage that must run is skipped: %s", why)
	}
	r.deadline = time.Time{}
	if why := r.skips(large, []stage{must}); why != "" {
		t.Errorf("without a deadline: %s", why)
	}
}

func TestSlownessIsMeasured(t *testing.T) {
	r, _ := newTestRunner(t)
	if r.slowness() != 1 {
		t.Error("before anything ran")
	}
	at := time.Now()
	r.now = func() time.Time { at = at.Add(3 * time.Second); return at } // each look at the clock is 3 s later
	first := stage{name: "once", estimate: time.Millisecond, once: true, commands: []command{run("true")}}
	r.run(t.Context(), []stage{first}, func(result) {})
	if r.slowness() != 1 {
		t.Errorf("a first compilation counts: %v", r.slowness())
	}
	r.run(t.Context(), []stage{shell("a", "true")}, func(result) {})
	if r.slowness() != 3 {
		t.Errorf("a stage of 1 s took 3 s: %v", r.slowness())
	}
}

func TestARunningOptionalStageIsCutShort(t *testing.T) {
	r, out := newTestRunner(t)
	r.deadline = time.Now().Add(1200 * time.Millisecond)
	long := maybe(shell("long", "sleep 300"))
	results, text := states(t.Context(), r, []stage{long})
	if text != "long cut short" || verdictOf(results) != nil {
		t.Errorf("%s\n%s", text, out)
	}
}

func TestMandatoryStagesOutliveTheDeadline(t *testing.T) {
	r, out := newTestRunner(t)
	r.deadline = time.Now().Add(-time.Hour)
	if _, text := states(t.Context(), r, []stage{maybe(shell("a", "true")), shell("b", "true")}); text != "a skipped, b passed" {
		t.Errorf("%s\n%s", text, out)
	}
}

// A stage that is stopped leaves no process, though its children ignore SIGTERM or its leader is gone.
func TestNoProcessOutlivesItsStage(t *testing.T) {
	for name, script := range map[string]string{
		"stopped":       `sleep 300 & echo $! >pid; wait`,
		"left behind":   `sleep 300 >/dev/null 2>&1 & echo $! >pid; exit 0`,
		"holds the log": `sleep 300 & echo $! >pid; exit 1`,
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := newTestRunner(t)
			pid := filepath.Join(r.root, "pid")
			ctx, cancel := context.WithCancel(t.Context())
			go func() { // ends with the test at the latest
				for ctx.Err() == nil {
					if text, _ := os.ReadFile(pid); len(text) > 0 {
						if name == "stopped" {
							cancel()
						}
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			}()
			results, _ := states(ctx, r, []stage{shell("a", script)})
			cancel()
			want := map[string]state{"stopped": interrupted, "left behind": passed, "holds the log": failed}[name]
			if results[0].State != want {
				t.Errorf("it %s, want %s: %s", results[0].State, want, results[0].Why)
			}
			text, err := os.ReadFile(pid)
			if err != nil {
				t.Fatal(err)
			}
			if !gone(strings.TrimSpace(string(text))) {
				t.Errorf("process %s lives on", text)
			}
		})
	}
}

// gone waits for the end of a process that was killed. One that nobody has waited for yet counts as ended.
func gone(pid string) bool {
	for range 500 {
		output, err := exec.Command("ps", "-o", "stat=", "-p", pid).Output()
		if err != nil || strings.HasPrefix(strings.TrimSpace(string(output)), "Z") {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func TestACommandHasALimit(t *testing.T) {
	c := run("sleep 300").limited(50 * time.Millisecond)
	if err := c.execute(t.Context(), ".", nil, &bytes.Buffer{}); !errors.Is(err, errLimit) {
		t.Errorf("it ended with %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("STAGES_A", "1")
	t.Setenv("STAGES_B", "1")
	env := environ([]string{"STAGES_A=2", "STAGES_B"})
	if !slices.Contains(env, "STAGES_A=2") || slices.Contains(env, "STAGES_A=1") || slices.Contains(env, "STAGES_B=1") {
		t.Error("a variable that is set has its old value, or one that is removed is still there")
	}
}

func TestWhatIsOutOfReachIsNoFailure(t *testing.T) {
	s := shell("a", "echo dial tcp: no route; exit 1")
	s.unavailable = noNetwork
	r, _ := newTestRunner(t)
	results, text := states(t.Context(), r, []stage{s})
	if text != "a skipped" || !strings.Contains(results[0].Why, "no route") {
		t.Errorf("%s: %s", text, results[0].Why)
	}
}

// control is a program that starts clusters, and remembers what it was asked.
func control(t *testing.T) (path, asked string) {
	t.Helper()
	folder := t.TempDir()
	path, asked = filepath.Join(folder, "control"), filepath.Join(folder, "asked")
	script := "#!/bin/sh\necho \"$1 $2\" >>" + asked + "\ncase $1 in start) echo 127.0.0.1:1;; certs) echo /certs;; log) echo " + folder + "/log;; esac\n"
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "log"), []byte("INFO Kafka version: 4.9.9 (AppInfoParser)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, asked
}

func TestClustersStartWhenNeededAndStopAfterTheLastUse(t *testing.T) {
	path, asked := control(t)
	r, out := newTestRunner(t)
	r.clusters = newClusters(path, t.TempDir())
	prints := shell("prints", "echo brokers $KAFKA_BROKERS $KAFKA_TEST_CERTS")
	prints.needs = needClusters
	stages := []stage{shell("none", "test ! -e "+asked), prints, shell("after", "grep -c stop "+asked)}
	_, text := states(t.Context(), r, stages)
	if text != "none passed, prints passed, after passed" || !strings.Contains(out.String(), "brokers 127.0.0.1:1 /certs") {
		t.Errorf("%s\n%s", text, out)
	}
	verbs, err := os.ReadFile(asked)
	if err != nil || strings.Count(string(verbs), "start ") != 3 || strings.Count(string(verbs), "stop ") != 3 {
		t.Errorf("%v\n%s", err, verbs)
	}
	if r.clusters.version != "4.9.9" {
		t.Errorf("the version is %q", r.clusters.version)
	}
}

func TestStagesWithoutWhatTheyNeedAreSkipped(t *testing.T) {
	r, out := newTestRunner(t)
	s := shell("breaks", "true")
	s.needs = needClusters
	if results, text := states(t.Context(), r, []stage{s, {name: "empty"}}); text != "breaks skipped, empty skipped" || verdictOf(results) != nil {
		t.Errorf("%s\n%s", text, out)
	}
	if !strings.Contains(out.String(), "breaks: SKIPPED: it needs brokers") {
		t.Errorf("it does not say so:\n%s", out)
	}
}

func TestASignalIsNoFailureOfTheStage(t *testing.T) {
	r, out := newTestRunner(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(200*time.Millisecond, func() { cancel(errors.New(syscall.SIGTERM.String())) })
	results, text := states(ctx, r, []stage{shell("a", "sleep 300"), shell("b", "true")})
	if text != "a interrupted" || verdictOf(results) == nil {
		t.Errorf("%s\n%s", text, out)
	}
}
