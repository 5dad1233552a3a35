package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// printJSON writes a value as a line.
func printJSON(w io.Writer, value any) error {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := io.WriteString(w, printableJSON(line.String()))
	return err
}

// table aligns columns. Whoever calls row has made the cells printable where they are of others.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

func (t table) row(cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(t, "\t")
		}
		fmt.Fprint(t, cell)
	}
	fmt.Fprintln(t)
}

// count prints a number and what it is of, below one another.
func (s streams) count(n int64, of string) {
	fmt.Fprintf(s.out, "%9s  %s\n", grouped(n), of)
}

// A terminal's lines are not to wrap; whoever reads from a pipe or a file gets all.
func (s streams) fit(text string, limit int) string {
	text = printable(text)
	if s.outTerminal {
		return shorten(text, limit)
	}
	return text
}

// orNone is a cell for what a letter does not say.
func orNone(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// local is a moment as the person's clock has it.
func local(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// optional is a moment for JSON: absent if there is none.
func optional(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// content is a record's bytes for JSON: as text if they are, else as base64.
type content struct {
	Text   *string
	Base64 string
}

func newContent(data []byte) content {
	switch {
	case data == nil:
		return content{}
	case utf8.Valid(data):
		text := string(data)
		return content{Text: &text}
	}
	return content{Base64: base64.StdEncoding.EncodeToString(data)}
}

// readable is a record's bytes for people: text, or hex, cut to so many characters.
func readable(data []byte, limit int) string {
	text := ""
	switch {
	case data == nil:
		return "(none)"
	case utf8.Valid(data):
		text = printable(string(data))
	default:
		text = "hex " + spaced(data, limit)
	}
	if short := shorten(text, limit); short != text {
		return fmt.Sprintf("%s (%s bytes; --full shows all)", short, grouped(int64(len(data))))
	}
	return text
}

func spaced(data []byte, limit int) string {
	return strings.TrimSpace(fmt.Sprintf("% x", data[:min(len(data), limit)]))
}
