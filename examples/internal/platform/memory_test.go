package platform

import "testing"

func TestMemoryForgetsTheOldestBeyondItsSize(t *testing.T) {
	memory := NewMemory(2)
	for _, id := range []string{"a", "b", "b", "c"} {
		memory.Keep(id)
	}
	for id, want := range map[string]bool{"a": false, "b": true, "c": true} {
		if memory.Knows(id) != want {
			t.Errorf("knows %s: %v, want %v", id, !want, want)
		}
	}
}
