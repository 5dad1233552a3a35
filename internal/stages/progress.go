package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// progress is what make prove has done so far. It is kept in a file, so that a run that was stopped can be continued.
type progress struct {
	path string

	Commit  string    `json:"commit"` // of the latest run
	Began   time.Time `json:"began"`
	Kafka   string    `json:"kafka"`   // the brokers' version; empty if unknown
	Results []result  `json:"results"` // of finished stages
}

// errOtherCommit is the error of a run whose stages were run for another commit.
var errOtherCommit = errors.New("the earlier run was for another commit")

// loadProgress reads the progress of an earlier run in folder, unless fresh is set. Where that was for another commit,
// goOn keeps what passed and repeats what failed; without goOn it is an error.
func loadProgress(folder, commit string, fresh, goOn bool, now time.Time) (*progress, error) {
	path := filepath.Join(folder, "progress.json")
	started := &progress{path: path, Commit: commit, Began: now}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || fresh:
		return started, nil
	case err != nil:
		return nil, err
	}
	p := &progress{path: path}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("%s: %w; FRESH=1 starts over", path, err)
	}
	if len(p.Results) == 0 {
		return started, nil
	}
	if p.Commit != commit {
		if !goOn {
			return nil, fmt.Errorf("%w: %d stages have finished for %s, and this is %s; FRESH=1 starts over, CONTINUE=1 goes on",
				errOtherCommit, len(p.Results), p.Commit, commit)
		}
		p.Commit = commit
		p.Results = slices.DeleteFunc(p.Results, func(r result) bool { return r.State == failed })
	}
	return p, nil
}

// finished returns a stage's result, if it has one.
func (p *progress) finished(name string) (result, bool) {
	i := slices.IndexFunc(p.Results, func(r result) bool { return r.Name == name })
	if i < 0 {
		return result{}, false
	}
	return p.Results[i], true
}

// unfinished returns the stages that have no result yet.
func (p *progress) unfinished(stages []stage) (left []stage) {
	for _, s := range stages {
		if _, ok := p.finished(s.name); !ok {
			left = append(left, s)
		}
	}
	return left
}

// record keeps the result of a stage that finished. One that was skipped or interrupted runs the next time.
func (p *progress) record(r result) error {
	if r.State == passed || r.State == failed {
		p.Results = append(p.Results, r)
	}
	return p.save()
}

func (p *progress) save() error {
	text, err := json.MarshalIndent(p, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(p.path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(p.path+".new", p.path) // a run that is killed meanwhile leaves the old file
}

// inOrder returns the results in the order of the stages: those of this run, or else of earlier ones.
func (p *progress) inOrder(stages []stage, latest []result) (results []result) {
	for _, s := range stages {
		if i := slices.IndexFunc(latest, func(r result) bool { return r.Name == s.name }); i >= 0 {
			results = append(results, latest[i])
		} else if r, ok := p.finished(s.name); ok {
			results = append(results, r)
		}
	}
	return results
}
