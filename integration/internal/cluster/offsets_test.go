package cluster

import "testing"

func TestOffsetsPartition(t *testing.T) {
	for group, want := range map[string]int32{"": 0, "a": 97 % 50, "ab": (97*31 + 98) % 50, "polygenelubricants": 0, "chaos-f7497e48": 43} { // the hash of polygenelubricants is the least integer, the last one's is negative
		if got := offsetsPartition(group, 50); got != want {
			t.Errorf("%q: %d, want %d", group, got, want)
		}
	}
}
