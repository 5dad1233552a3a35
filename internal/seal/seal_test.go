package seal_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/seal"
)

var (
	first  = strings.Repeat("k", seal.MinKeyBytes)
	second = strings.Repeat("l", seal.MinKeyBytes)
)

func keys(t testing.TB, text string) *seal.Keys {
	t.Helper()
	k, err := seal.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func record() *kgo.Record {
	return &kgo.Record{Topic: "orders", Partition: 2, Offset: 9, Key: []byte("k"), Value: []byte("v"), Headers: []kgo.RecordHeader{
		{Key: "trace", Value: []byte("t")}, {Key: seal.Prefix + "topic", Value: []byte("orders")}, {Key: seal.Prefix + "redrive.group", Value: []byte("a")},
	}}
}

func sealed(k *seal.Keys, r *kgo.Record, scope seal.Scope) *kgo.Record {
	r.Headers = k.Seal(r, scope)
	return r
}

// The encoding is part of what is stored: another version of the library must verify it.
func TestTheEncodingStays(t *testing.T) {
	k := keys(t, first)
	for scope, want := range map[seal.Scope]string{
		seal.ToTopic:     "1t:CDlF7pNihS_Dcpm1XIUX0PdAjJ3K-b1wohxgF9foblg",
		seal.ToPartition: "1p:UhWUJvJTzWKGgA628zVSLbBr8Q-PZ3hPGA_bmsW0ho8",
	} {
		r := sealed(k, record(), scope)
		if last := r.Headers[len(r.Headers)-1]; last.Key != seal.Header || string(last.Value) != want {
			t.Errorf("seal %q, want %q", last.Value, want)
		}
	}
}

// A seal holds for the record as it was sealed, where it was written to, and for nothing else.
func TestASealCoversWhatCounts(t *testing.T) {
	k := keys(t, first)
	header := func(name string) func(*kgo.Record) *[]byte {
		return func(r *kgo.Record) *[]byte {
			i := slices.IndexFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == name })
			return &r.Headers[i].Value
		}
	}
	set := func(value []byte, of func(*kgo.Record) *[]byte) func(*kgo.Record) {
		return func(r *kgo.Record) { *of(r) = value }
	}
	key := func(r *kgo.Record) *[]byte { return &r.Key }
	value := func(r *kgo.Record) *[]byte { return &r.Value }
	control := seal.Prefix + "redrive.group"
	for _, test := range []struct {
		name    string
		change  func(*kgo.Record)
		topical bool // holds with ToTopic
		holds   bool // holds with ToPartition
	}{
		{"nothing", func(*kgo.Record) {}, true, true},
		{"the offset", func(r *kgo.Record) { r.Offset++ }, true, true},
		{"another header", set([]byte("u"), header("trace")), true, true},
		{"another header more", func(r *kgo.Record) { r.Headers = append(r.Headers, kgo.RecordHeader{Key: "more"}) }, true, true},
		{"the partition", func(r *kgo.Record) { r.Partition++ }, true, false},
		{"the topic", func(r *kgo.Record) { r.Topic = "invoices" }, false, false},
		{"the key", set([]byte("kk"), key), false, false},
		{"no key", set(nil, key), false, false},
		{"an empty key", set([]byte{}, key), false, false},
		{"the value", set([]byte("vv"), value), false, false},
		{"a tombstone", set(nil, value), false, false},
		{"an empty value", set([]byte{}, value), false, false},
		{"a byte moved from key to value", func(r *kgo.Record) { r.Key, r.Value = []byte{}, []byte("kv") }, false, false},
		{"a header's value", set([]byte("b"), header(control)), false, false},
		{"a header's empty value", set(nil, header(control)), false, false},
		{"a header's name", func(r *kgo.Record) { r.Headers[2].Key += "x" }, false, false},
		{"a header more", func(r *kgo.Record) { r.Headers = append(r.Headers, kgo.RecordHeader{Key: control, Value: []byte("b")}) }, false, false},
		{"a header less", func(r *kgo.Record) { r.Headers = slices.Delete(r.Headers, 2, 3) }, false, false},
		{"headers in another order", func(r *kgo.Record) { r.Headers[1], r.Headers[2] = r.Headers[2], r.Headers[1] }, false, false},
		{"a byte moved between headers", func(r *kgo.Record) {
			r.Headers[1], r.Headers[2] = kgo.RecordHeader{Key: seal.Prefix + "topi", Value: []byte("corders")}, kgo.RecordHeader{Key: control, Value: []byte("a")}
		}, false, false},
		{"no seal", func(r *kgo.Record) { r.Headers = r.Headers[:len(r.Headers)-1] }, false, false},
		{"two seals", func(r *kgo.Record) { r.Headers = append(r.Headers, r.Headers[len(r.Headers)-1]) }, false, false},
		{"an empty seal", set(nil, header(seal.Header)), false, false},
		{"a seal without a sum", set([]byte("1t:"), header(seal.Header)), false, false},
		{"a seal of another scope", func(r *kgo.Record) {
			at := header(seal.Header)(r)
			swapped := bytes.Clone(*at)
			swapped[1] = 't' + 'p' - swapped[1]
			*at = swapped
		}, false, false},
		{"a seal of another version", func(r *kgo.Record) {
			at := header(seal.Header)(r)
			*at = append([]byte("2"), (*at)[1:]...)
		}, false, false},
		{"a seal with more behind it", func(r *kgo.Record) { at := header(seal.Header)(r); *at = append(bytes.Clone(*at), 'A') }, false, false},
	} {
		for scope, want := range map[seal.Scope]bool{seal.ToTopic: test.topical, seal.ToPartition: test.holds} {
			r := sealed(k, record(), scope)
			if test.change(r); k.Verify(r) != want {
				t.Errorf("%s: the seal %s holds: %t", test.name, scope, !want)
			}
		}
	}
}

// An empty key and value, and none, are as much of the record as any other.
func TestRecordsWithoutKeyOrValueAreSealed(t *testing.T) {
	k := keys(t, first)
	for _, key := range [][]byte{nil, {}} {
		for _, value := range [][]byte{nil, {}} {
			r := record()
			r.Key, r.Value = key, value
			if !k.Verify(sealed(k, r, seal.ToTopic)) {
				t.Errorf("key %v, value %v: the seal does not hold", key, value)
			}
		}
	}
}

// A key is replaced in three steps, and all that was sealed meanwhile holds.
func TestKeysAreReplaced(t *testing.T) {
	before, both, swapped, after := keys(t, first), keys(t, first+"\n"+second), keys(t, "\n "+second+"\r\n\n"+first+"\n"), keys(t, second)
	old, renewed := sealed(before, record(), seal.ToPartition), sealed(swapped, record(), seal.ToPartition)
	for _, test := range []struct {
		name         string
		k            *seal.Keys
		old, renewed bool
	}{{"before", before, true, false}, {"both", both, true, true}, {"swapped", swapped, true, true}, {"after", after, false, true}} {
		if test.k.Verify(old) != test.old || test.k.Verify(renewed) != test.renewed {
			t.Errorf("%s: the old key's seal holds: %t, the new one's: %t", test.name, !test.old, !test.renewed)
		}
	}
	if !before.Verify(sealed(both, record(), seal.ToTopic)) {
		t.Error("the first key does not seal")
	}
}

// A record is sealed anew, whoever has sealed it before. One without control headers has nothing to seal.
func TestOneSealARecord(t *testing.T) {
	k := keys(t, first)
	r := record()
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: seal.Header, Value: []byte("forged")})
	before := len(r.Headers)
	if r = sealed(k, sealed(k, r, seal.ToTopic), seal.ToPartition); len(r.Headers) != before || !k.Verify(r) {
		t.Errorf("headers %q", r.Headers)
	}
	plain := &kgo.Record{Topic: "orders", Headers: []kgo.RecordHeader{{Key: "trace"}}}
	if k.Seal(plain, seal.ToTopic); len(plain.Headers) != 1 || len(k.Seal(plain, seal.ToTopic)) != 1 {
		t.Errorf("headers %q", plain.Headers)
	}
	if got := seal.Strip(r.Headers); len(got) != 1 || got[0].Key != "trace" || len(r.Headers) != before {
		t.Errorf("stripped to %q", got)
	}
}

func TestWithoutAKeyNothingIsSealed(t *testing.T) {
	var none *seal.Keys
	r := record()
	if got := none.Seal(r, seal.ToTopic); len(got) != 3 || none.Verify(sealed(keys(t, first), r, seal.ToTopic)) {
		t.Errorf("headers %q", got)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "no line holds a key",
		" \n\t\n":                         "no line holds a key",
		"short":                           "key 1 has 5 bytes",
		first + "\n\n" + first[1:] + "\n": "key 2 has 31 bytes",
		strings.Repeat(first+"\n", 11):    "11 lines hold a key",
	} {
		if _, err := seal.Parse(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), first[1:]) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// FuzzSeal: headers, key and value come from outside. Whatever a seal says, it holds only for a record that was sealed,
// unchanged.
func FuzzSeal(f *testing.F) {
	f.Add("topic", []byte("orders"), []byte("k"), []byte("v"), []byte("1t:AAAA"))
	f.Add("seal", []byte(nil), []byte(nil), []byte{}, []byte("1p:"))
	f.Fuzz(func(t *testing.T, name string, header, key, value, forged []byte) {
		k := keys(t, first)
		r := &kgo.Record{Topic: "orders", Partition: 1, Key: key, Value: value, Headers: []kgo.RecordHeader{{Key: seal.Prefix + name, Value: header}}}
		if !strings.HasPrefix(r.Headers[0].Key, seal.Header) && !k.Verify(sealed(k, r, seal.ToPartition)) {
			t.Fatalf("the seal of %+v does not hold", r)
		}
		if r.Headers = append(seal.Strip(r.Headers), kgo.RecordHeader{Key: seal.Prefix + name, Value: header}, kgo.RecordHeader{Key: seal.Header, Value: forged}); k.Verify(r) {
			t.Fatalf("the seal %q is forged, and holds", forged)
		}
	})
}
