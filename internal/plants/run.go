package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	testRuns = 3   // of the named test: an unlucky order of events may hide the bug in one run
	seeds    = 200 // of the simulation at most: it stops at the first seed that fails
	// childTimeout is longer than the simulation waits for a seed that hangs, so that the simulation reports it.
	childTimeout = 10 * time.Minute
)

// result is the outcome of one plant.
type result struct {
	plant
	caught  string // what caught it; "" if nothing did
	err     error  // the reason if nothing did
	elapsed time.Duration
}

// try builds the library with the plant in it and runs what must catch it.
func (p plant) try(root string, l *library) result {
	began := time.Now()
	caught, err := p.catch(root, l)
	return result{p, caught, err, time.Since(began)}
}

func (p plant) catch(root string, l *library) (caught string, err error) {
	dir, err := os.MkdirTemp("", "plant")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	overlay, err := p.overlay(root, dir, l)
	if err != nil {
		return "", err
	}
	// The build tag is the simulation's. Both kinds have it, so that they share what is built.
	arguments := []string{"test", "-v", "-vet=off", "-tags=synctests", "-timeout=" + childTimeout.String(), "-overlay=" + overlay}
	if p.test == "" {
		arguments = append(arguments, "-run=^TestSimulation$", "-count=1", "./internal/simulation", "-seeds", fmt.Sprint(seeds))
	} else {
		pattern := "^" + strings.ReplaceAll(p.test, "/", "$/^") + "$"
		arguments = append(arguments, "-run="+pattern, "-count="+fmt.Sprint(testRuns), "-failfast")
		arguments = append(arguments, packages()...)
	}
	child := exec.Command("go", arguments...)
	child.Dir = root
	output, err := child.CombinedOutput()
	if caught := p.caughtBy(string(output)); err != nil && caught != "" {
		return caught, nil
	}
	reason := "failed, but not as the table says"
	switch {
	case err == nil:
		reason = "passed"
	case strings.Contains(string(output), "[build failed]"):
		reason = "did not compile with the plant in it"
	}
	return "", fmt.Errorf("%s %s:\n%s", p.catcher(), reason, output[max(0, len(output)-4000):])
}

// packages names the packages whose tests catch plants, for go test.
func packages() (paths []string) {
	for _, folder := range sources {
		paths = append(paths, "./"+folder)
	}
	return paths
}

// overlay writes the spoiled file, and the file that has the go command use it.
func (p plant) overlay(root, dir string, l *library) (path string, err error) {
	file, text, err := l.apply(p)
	if err != nil {
		return "", err
	}
	spoiled := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(spoiled, text, 0o600); err != nil {
		return "", err
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, file): spoiled}})
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, replace, 0o600)
}

// catcher names what must catch the plant.
func (p plant) catcher() string {
	if p.test != "" {
		return p.test
	}
	return "the simulation (" + strings.ToLower(strings.Join(p.findings, " or ")) + ")"
}

var failingSeed = regexp.MustCompile(`replay with -seed (\d+)`)

// caughtBy reads the output of a failed go test. It returns "" if the failure is not the one that the plant must cause.
func (p plant) caughtBy(output string) string {
	if p.test != "" {
		if strings.Contains(output, "--- FAIL: "+p.test+" (") {
			return p.test
		}
		return ""
	}
	for _, finding := range p.findings {
		if regexp.MustCompile(`(?m)^\s*` + finding + ` \d+:`).MatchString(output) {
			seed := "?"
			if match := failingSeed.FindStringSubmatch(output); match != nil {
				seed = match[1]
			}
			return fmt.Sprintf("simulation, seed %s: %s", seed, strings.ToLower(finding))
		}
	}
	return ""
}
