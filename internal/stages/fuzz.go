package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// fuzzTarget is a function FuzzX of a package, in whatever module.
type fuzzTarget struct {
	pkg  string // as ./codec/avro
	name string
}

// command fuzzes the target for d.
func (t fuzzTarget) command(d time.Duration) command {
	return run(".ci/fuzz", t.name, d.String(), t.pkg)
}

var fuzzFunction = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(\w+ \*testing\.F\)`)

// fuzzTargets reads the test files below root. It is quicker than go test -list, which compiles them.
func fuzzTargets(root string) (targets []fuzzTarget, err error) {
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := "."
		if folder != "." {
			pkg = "./" + filepath.ToSlash(folder)
		}
		for _, match := range fuzzFunction.FindAllStringSubmatch(string(text), -1) {
			targets = append(targets, fuzzTarget{pkg, match[1]})
		}
		return nil
	})
	slices.SortFunc(targets, func(a, b fuzzTarget) int { return strings.Compare(a.pkg+" "+a.name, b.pkg+" "+b.name) })
	return targets, err
}
