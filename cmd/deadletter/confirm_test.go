package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestOnlyYesIsYes(t *testing.T) {
	for answer, want := range map[string]error{"y\n": nil, "YES\n": nil, " yes \n": nil, "n\n": errRefused, "\n": errRefused, "": errRefused, "yess\n": errRefused} {
		var screen bytes.Buffer
		err := confirm(t.Context(), streams{in: strings.NewReader(answer), inTerminal: true, err: &console{w: &screen}}, "Delete 3 letters?")
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", answer, err, want)
		}
		if screen.String() != "Delete 3 letters? [y/N] " {
			t.Errorf("asked %q", screen.String())
		}
	}
}

// A pipe's "y" is nobody's consent: it may be data.
func TestWithoutATerminalNobodyIsAsked(t *testing.T) {
	err := confirm(t.Context(), streams{in: strings.NewReader("y\n"), err: &console{w: io.Discard}}, "Delete 3 letters?")
	if !errors.Is(err, errRefused) || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("%v, want a refusal that names --yes", err)
	}
}

func TestCtrlCAtTheQuestionIsNo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	silent, closer := io.Pipe()
	defer closer.Close()
	if err := confirm(ctx, streams{in: silent, inTerminal: true, err: &console{w: io.Discard}}, "?"); !errors.Is(err, errRefused) {
		t.Errorf("%v, want a refusal", err)
	}
}
