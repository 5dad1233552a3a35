package kafka

import (
	"errors"
	"math/rand/v2"
	"testing"
)

// The set of letters is judged against a simple one.
func TestParkedKeysAgainstASimpleSet(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		keys, simple := newParkedKeys(1<<30), map[uint64]map[int64]int64{}
		start := int64(0)
		for at := range int64(200) {
			lane, origin := random.Uint64N(3), random.Int64N(40)
			switch random.IntN(8) {
			case 0, 1, 2:
				if simple[lane] == nil {
					simple[lane] = map[int64]int64{}
				}
				simple[lane][origin] = at
				keys.add(lane, parkedLetter{origin, at})
			case 3, 4, 5:
				if first, parked := keys.first(lane); parked && random.IntN(2) == 0 {
					origin = first.origin
				}
				delete(simple[lane], origin)
				keys.remove(lane, origin)
			case 6:
				for _, letters := range simple {
					delete(letters, origin)
				}
				keys.removeAnywhere(origin)
			default:
				start += random.Int64N(10)
				for _, letters := range simple {
					for origin, offset := range letters {
						if offset < start {
							delete(letters, origin)
						}
					}
				}
				keys.forgetBelow(start)
			}
			count, parked := 0, 0
			for lane := range uint64(3) {
				lowest := parkedLetter{origin: -1}
				for origin, offset := range simple[lane] {
					count++
					if !keys.has(lane, origin) {
						t.Fatalf("lane %d lacks %d", lane, origin)
					}
					if lowest.origin < 0 || origin < lowest.origin {
						lowest = parkedLetter{origin, offset}
					}
				}
				first, any := keys.first(lane)
				if any {
					parked++
				}
				if any != (lowest.origin >= 0) || any && first != lowest {
					t.Fatalf("lane %d begins with %+v, %t; want %+v", lane, first, any, lowest)
				}
			}
			if keys.count != count || keys.keys() != parked {
				t.Fatalf("%d letters of %d keys, want %d of %d", keys.count, keys.keys(), count, parked)
			}
		}
	}
}

func TestParkedPlacesReadBack(t *testing.T) {
	place := parkedPlace{"orders", 3, 42, "a/group/of mine"}
	if back, ok := parseParkedPlace(place.String()); !ok || back != place {
		t.Errorf("%q reads back as %+v, %t", place, back, ok)
	}
	for _, text := range []string{"", "orders", "orders/3/42", "orders/-3/42/g", "orders/3/-42/g", "orders/3/x/g", "orders/2147483648/1/g", "orders/3/9223372036854775808/g"} {
		if back, ok := parseParkedPlace(text); ok {
			t.Errorf("%q reads as %+v", text, back)
		}
	}
	if err := error(&parkedError{"dlq-orders", 1, 42}); ClassOf(err) != ClassParked || !errors.Is(err, ErrParked) {
		t.Errorf("%v is of class %q", err, ClassOf(err))
	}
}
