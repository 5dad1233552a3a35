package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// plan is what a run takes of that which is too large to run whole for each change: a part that the commit's hash
// picks, so that successive commits go through everything, and a commit's run can be repeated; and all of what the
// change touched.
type plan struct {
	mode    mode
	commit  string   // HEAD, and "+changes" if files differ from it
	pick    uint64   // of the commit's hash
	base    string   // what the change is compared with; empty if unknown
	changed []string // files, with slashes, from the root
	fuzz    []fuzzTarget
}

// settled is how old a commit must be, seen from HEAD, to be taken as the base of a change. A change is often a series
// of commits pushed together, of which the last alone says little. Six hours hold a day's work on one subject, and no
// more.
const settled = 6 * time.Hour

// newPlan reads the repository in root.
func newPlan(m mode, root string) (plan, error) {
	p := plan{mode: m}
	var err error
	if p.fuzz, err = fuzzTargets(root); err != nil {
		return p, err
	}
	git := func(args ...string) string { // "" without git, or without what was asked for
		output, err := exec.Command("git", append([]string{"-C", root}, args...)...).Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(output))
	}
	p.commit = git("rev-parse", "HEAD")
	p.pick = pickOf(p.commit)
	if git("status", "--porcelain") != "" {
		p.commit += "+changes"
	}
	if p.base = os.Getenv("CI_BASE"); p.base == "" {
		if seconds, err := strconv.ParseInt(git("log", "-1", "--format=%ct"), 10, 64); err == nil {
			before := time.Unix(seconds, 0).Add(-settled)
			p.base = git("rev-list", "-1", fmt.Sprintf("--before=%d", before.Unix()), "HEAD")
		}
	} else if git("rev-parse", "--verify", "--quiet", p.base+"^{commit}") == "" {
		return p, fmt.Errorf("CI_BASE=%s names no commit of this repository", p.base)
	}
	if p.base != "" {
		p.changed = strings.Split(git("diff", "--name-only", p.base, "--"), "\n") // with what is not committed yet
	}
	return p, nil
}

// pickOf returns a number that all parts are derived from.
func pickOf(commit string) uint64 {
	if bytes, err := hex.DecodeString(commit[:min(16, len(commit))]); err == nil && len(bytes) == 8 {
		return binary.BigEndian.Uint64(bytes)
	}
	return 0
}

// part returns which of n parts is this commit's, from 0.
func (p plan) part(n int) int { return int(p.pick % uint64(n)) }

// changedCode returns the files of the change that are code of a package, by its folder, and no tests.
func (p plan) changedCode(folder string) (files []string) {
	for _, file := range p.changed {
		if path.Dir(file) == path.Clean(folder) && strings.HasSuffix(file, ".go") && !strings.HasSuffix(file, "_test.go") {
			files = append(files, file)
		}
	}
	return files
}

// core reports whether the change concerns the library's root package, or what it is made of.
func (p plan) core() bool { return len(p.changedCode(".")) > 0 || slices.Contains(p.changed, "go.mod") }

// fuzzing returns the targets to fuzz: those of packages that the change touched, and then one in n of the others.
func (p plan) fuzzing(n int) []fuzzTarget {
	var touched, others []fuzzTarget
	for _, target := range p.fuzz {
		if len(p.changedCode(target.pkg)) > 0 {
			touched = append(touched, target)
		} else {
			others = append(others, target)
		}
	}
	return append(touched, everyNth(others, p.part(n), n)...)
}

// everyNth returns each n-th element, from element first on.
func everyNth[T any](all []T, first, n int) (picked []T) {
	for i := first; i < len(all); i += n {
		picked = append(picked, all[i])
	}
	return picked
}

// describe says what the plan is made from.
func (p plan) describe() string {
	text := "commit " + p.commit
	switch {
	case p.mode == modeProve:
		return text
	case p.base == "":
		return text + "; no commit to compare it with, so nothing counts as changed"
	}
	text += fmt.Sprintf("; %d files differ from %s", len(p.changed), p.base)
	if p.core() {
		text += ", among them code of the root package"
	}
	return text
}
