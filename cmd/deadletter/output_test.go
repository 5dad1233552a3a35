package main

import (
	"math"
	"strings"
	"testing"
)

func TestBytesAreReadable(t *testing.T) {
	for _, test := range []struct {
		data  []byte
		limit int
		want  string
	}{
		{nil, 10, "(none)"},
		{[]byte{}, 10, ""},
		{[]byte("0123456789"), 10, "0123456789"},
		{[]byte("0123456789a"), 10, "012345678… (11 bytes; --full shows all)"},
		{[]byte("0123456789a"), math.MaxInt, "0123456789a"},
		{[]byte{0xff, 0x00}, 20, "hex ff 00"},
		{[]byte(strings.Repeat("\xff", 1000)), 10, "hex ff ff… (1,000 bytes; --full shows all)"},
	} {
		if got := readable(test.data, test.limit); got != test.want {
			t.Errorf("readable(%q, %d) is %q, want %q", test.data, test.limit, got, test.want)
		}
	}
}

func TestBytesInJSONAreTextOrBase64(t *testing.T) {
	if c := newContent(nil); c.Text != nil || c.Base64 != "" {
		t.Errorf("a tombstone is %+v", c)
	}
	if c := newContent([]byte{}); c.Text == nil || *c.Text != "" {
		t.Errorf("an empty value is %+v", c)
	}
	if c := newContent([]byte{0xff}); c.Text != nil || c.Base64 != "/w==" {
		t.Errorf("bytes are %+v", c)
	}
}
