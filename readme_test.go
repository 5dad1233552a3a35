package kafka_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
)

// TestBookingIsSaved is the README's example of a service's own test.
func TestBookingIsSaved(t *testing.T) {
	type Booking struct{ Seats int }
	broker := kafkatest.Start(t, "bookings")
	var saved atomic.Int32
	handle := func(_ context.Context, msg kafka.Message[Booking]) error { // your handler goes here
		if msg.Value.Seats > 100 {
			return kafka.NewPermanentError("save booking", errors.New("no room that large"))
		}
		saved.Add(1)
		return nil
	}
	consumer, err := kafka.NewConsumer(broker.ConsumerConfig("bookings", "bookings-service"), handle)
	if err != nil {
		t.Fatal(err)
	}
	kafkatest.Run(t, consumer)

	kafkatest.Publish(t, broker, "bookings",
		kafka.NewMessage[Booking]().WithKey("k").WithValue(Booking{Seats: 2}).Build(),
		kafka.NewMessage[Booking]().WithKey("k").WithValue(Booking{Seats: 300}).Build())
	kafkatest.AwaitDone(t, broker, "bookings", "bookings-service")
	if saved.Load() != 1 {
		t.Errorf("%d bookings are saved, want 1", saved.Load())
	}
	refused := kafkatest.Published[Booking](t, broker, "dlq-bookings")
	if letter, _ := refused[0].DeadLetter(); letter.Class != kafka.ClassPermanent || refused[0].Value.Seats != 300 {
		t.Errorf("dead letter %+v: %+v", refused[0].Value, letter)
	}
}

// The documents' Go code is the named function, but for blank lines, where a comment such as
// <!-- code: examples/quickstart/main.go func publish --> stands right before it. Any other Go code at least parses.
func TestReadmeCodeIsReal(t *testing.T) {
	compared := compareCode(t, "README.md") + compareCode(t, "docs/migrating.md")
	if compared < 5 {
		t.Errorf("%d blocks compared, want publish, consume, the example of a test, and two ways to handle several event types", compared)
	}
}

func compareCode(t *testing.T, document string) (compared int) {
	t.Helper()
	marker := regexp.MustCompile(`^<!-- code: (\S+) func (\S+) -->$`)
	lines := strings.Split(readText(t, document), "\n")
	for i := 0; i < len(lines); i++ {
		marked := marker.FindStringSubmatch(lines[i])
		if marked == nil && strings.HasPrefix(lines[i], "<!-- code:") {
			t.Errorf("%s:%d: want <!-- code: file func name -->", document, i+1)
		}
		if marked != nil {
			if i++; lines[i] != "```go" {
				t.Fatalf("%s:%d: no ```go right after the code comment", document, i+1)
			}
		}
		if lines[i] != "```go" {
			continue
		}
		start := i + 1
		for i = start; lines[i] != "```"; i++ {
		}
		code := strings.Join(lines[start:i], "\n")
		switch {
		case marked == nil:
			if err := parseAny(code); err != nil {
				t.Errorf("%s:%d: does not parse: %v", document, start+1, err)
			}
		case withoutBlankLines(code) != withoutBlankLines(functionText(t, marked[1], marked[2])):
			t.Errorf("%s:%d: is not func %s of %s: copy it again", document, start+1, marked[2], marked[1])
		default:
			compared++
		}
	}
	return compared
}

func withoutBlankLines(code string) string {
	return regexp.MustCompile(`\n\s*\n`).ReplaceAllString(code, "\n")
}

// parseAny returns nil if code is a file, declarations or statements.
func parseAny(code string) (err error) {
	for _, source := range []string{code, "package p\n" + code, "package p\nfunc _() {\n" + code + "\n}"} {
		if _, err = parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution); err == nil {
			return nil
		}
	}
	return err
}

// functionText returns a function as it stands in a file, without its comment.
func functionText(t *testing.T, path, name string) string {
	t.Helper()
	source := readText(t, path)
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == name {
			return source[files.Position(f.Pos()).Offset:files.Position(f.End()).Offset]
		}
	}
	t.Fatalf("%s has no func %s", path, name)
	return ""
}

func TestReadmeLinksLeadSomewhere(t *testing.T) {
	code := regexp.MustCompile("(?ms)^```.*?^```|`[^`\n]*`")
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	for _, document := range []string{"README.md", "DESIGN.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/migrating.md"} {
		for _, match := range link.FindAllStringSubmatch(code.ReplaceAllString(readText(t, document), ""), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), match[1])); err != nil {
				t.Errorf("%s links to %s: %v", document, match[1], err)
			}
		}
	}
}

// goFiles returns a folder's Go files, either the tests or the others.
func goFiles(t *testing.T, folder string, tests bool) (paths []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(all) == 0 {
		t.Fatalf("no Go files in %s: %v", folder, err)
	}
	for _, path := range all {
		if strings.HasSuffix(path, "_test.go") == tests {
			paths = append(paths, path)
		}
	}
	return paths
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
