package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

// printable is text without anything that would move the cursor, colour the screen or turn the reading direction: keys, values and
// errors are of whoever publishes, and a terminal obeys what is in them.
func printable(text string) string {
	return escape(text, func(r rune) string {
		quoted := strconv.QuoteRuneToASCII(r)
		return quoted[1 : len(quoted)-1]
	})
}

// printableJSON is the same JSON in other letters: encoding/json lets DEL, the C1 control characters and marks of direction through.
func printableJSON(text string) string {
	return escape(text, func(r rune) string {
		if r == '\n' { // between two lines: within a string encoding/json has escaped it
			return "\n"
		}
		if high, low := utf16.EncodeRune(r); high != utf8.RuneError { // beyond four digits
			return fmt.Sprintf(`\u%04x\u%04x`, high, low)
		}
		return fmt.Sprintf(`\u%04x`, r)
	})
}

// escape replaces what is not to be printed. Bytes that are no UTF-8 are shown as they are written in Go, \xff.
func escape(text string, replace func(rune) string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(replace(r))
		}
	}
	return b.String()
}

// shorten cuts text that would break a table's lines.
func shorten(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return string(runes[:limit-1]) + "…"
}

// isTerminal says whether somebody sits there. The null device looks like one.
func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// streams are the three that a process has, and which of them are a person's.
type streams struct {
	in          io.Reader
	out         io.Writer
	err         *console
	inTerminal  bool
	outTerminal bool
}

// console is standard error: messages, and below them a line that says how far the work is.
type console struct {
	w        io.Writer
	terminal bool

	mu    sync.Mutex
	shown int // how long the progress line is that stands there
}

// Write is for messages, the client's log lines among them, which may come from any goroutine.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wipe()
	return c.w.Write(p)
}

// show replaces the progress line. Where there is no terminal, each is a line of its own.
func (c *console) show(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.terminal {
		fmt.Fprintln(c.w, line)
		return
	}
	c.wipe()
	fmt.Fprint(c.w, line)
	c.shown = utf8.RuneCountInString(line)
}

// wipe takes the progress line away, with nothing but what the oldest terminal knows.
func (c *console) wipe() {
	if c.shown > 0 {
		fmt.Fprintf(c.w, "\r%*s\r", c.shown, "")
		c.shown = 0
	}
}

// end takes the progress line away: what comes next is the result.
func (c *console) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wipe()
}
