package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What publishers put into keys, values and errors must not reach a terminal as commands.
func TestNothingMovesTheCursor(t *testing.T) {
	for text, want := range map[string]string{
		"plain text, é, 日本":              "plain text, é, 日本",
		"\x1b[2Jgone":                    `\x1b[2Jgone`,
		"two\nlines\r\t":                 `two\nlines\r\t`,
		"C1 \u009b31m":                   `C1 \u009b31m`,
		"txt.\u202eexe":                  `txt.\u202eexe`,
		"no UTF-8 \xff\x00":              `no UTF-8 \xff\x00`,
		"a replacement character \uFFFD": "a replacement character \uFFFD",
	} {
		if got := printable(text); got != want {
			t.Errorf("printable(%q) is %q, want %q", text, got, want)
		}
	}
}

func TestJSONIsTheSameInHarmlessLetters(t *testing.T) {
	in := map[string]string{"v": "\x1b[2J \u009b \u202e \x7f \U000e0001 é\n"}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	harmless := printableJSON(string(text) + "\n")
	if strings.ContainsAny(harmless, "\u009b\u202e\x7f\U000e0001\x1b") {
		t.Errorf("%q would reach the terminal", harmless)
	}
	var out map[string]string
	if err := json.Unmarshal([]byte(harmless), &out); err != nil || out["v"] != in["v"] {
		t.Errorf("%q became %q, %v", in, out, err)
	}
}

func TestFilesAreNoTerminals(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if isTerminal(null) || isTerminal(file) {
		t.Errorf("a terminal: the null device %v, a file %v", isTerminal(null), isTerminal(file))
	}
}

// On a terminal the progress line goes before a message comes; elsewhere it is a line like any other.
func TestMessagesAndProgressDoNotMix(t *testing.T) {
	var screen bytes.Buffer
	c := &console{w: &screen, terminal: true}
	c.show("12345")
	fmt.Fprintln(c, "message")
	if want := "12345" + "\r     \r" + "message\n"; screen.String() != want {
		t.Errorf("terminal: %q, want %q", screen.String(), want)
	}
	screen.Reset()
	c = &console{w: &screen}
	c.show("12345")
	fmt.Fprintln(c, "message")
	if want := "12345\nmessage\n"; screen.String() != want {
		t.Errorf("file: %q, want %q", screen.String(), want)
	}
}
