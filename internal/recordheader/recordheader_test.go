package recordheader

import (
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestTheLastHeaderOfANameCounts(t *testing.T) {
	headers := []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("2")}, {Key: "a", Value: []byte("3")}}
	for name, want := range map[string]string{"a": "3", "b": "2"} {
		if value, ok := Last(headers, name); !ok || string(value) != want {
			t.Errorf("%s is %q, %v; want %q", name, value, ok, want)
		}
	}
	if value, ok := Last(headers, "c"); ok {
		t.Errorf("a header that is not there is %q", value)
	}
	ids := IDs(headers, "b", "a")
	if len(ids) != 2 || ids[0].String() != "correlation_id=2" || ids[1].String() != "conversation_id=3" {
		t.Errorf("the ids are %v", ids)
	}
}

func TestIDsAreOneLineOfText(t *testing.T) {
	for id, want := range map[string]string{
		"order-7": "order-7", "größe 7": "größe 7", `a"b\c`: `a"b\c`,
		"a\nlevel=ERROR": `a\nlevel=ERROR`, "a\r": `a\r`, "\x00": `\x00`, "\x1b[2J": `\x1b[2J`, "\xff": `\xff`, "\u202etxt": `\u202etxt`, "\u2028": `\u2028`,
		strings.Repeat("x", 200): strings.Repeat("x", maxLogged),
	} {
		attrs := IDs([]kgo.RecordHeader{{Key: "c", Value: []byte(id)}}, "c", "v")
		if len(attrs) != 1 || attrs[0].Value.String() != want {
			t.Errorf("%q is logged as %v, want %q", id, attrs, want)
		}
	}
}

// FuzzIDs: whatever a publisher says, what is logged is printable, bounded, and says it.
func FuzzIDs(f *testing.F) {
	for _, seed := range []string{"", "order-7", "a\nb", "\x1b[31m", "\x00", "\xff\xfe", "\u202e", "\ufffd", strings.Repeat("é", 100)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, id []byte) {
		attrs := IDs([]kgo.RecordHeader{{Key: "c", Value: []byte("earlier")}, {Key: "c", Value: id}}, "c", "v")
		if len(id) == 0 {
			if len(attrs) != 0 {
				t.Fatalf("an empty id is logged as %v", attrs)
			}
			return
		}
		text := attrs[0].Value.String()
		if len(text) > 4*maxLogged || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(text) {
			t.Fatalf("%q is logged as %q", id, text)
		}
		said := string(id[:min(len(id), maxLogged)])
		if back, err := strconv.Unquote(`"` + text + `"`); text != said && (err != nil || back != said) {
			t.Fatalf("%q is logged as %q, which says %q (%v)", said, text, back, err)
		}
	})
}
