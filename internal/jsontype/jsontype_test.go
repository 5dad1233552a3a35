package jsontype

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
)

type (
	inner struct {
		A, B  int
		Deep  int `json:"deep"`
		Same  int
		Lower int `json:"lower"`
	}
	// Other is embedded beside inner.
	Other struct {
		Same  int
		B     int `json:"B"`
		Inner *inner
	}
	outer struct {
		inner
		*Other
		Tagged  inner `json:"tagged"`
		A       string
		Renamed int `json:"deep,omitempty"`
		Skipped int `json:"-"`
		//lint:ignore SA5008 encoding/json takes the name
		Dash int `json:"-,"`
		//lint:ignore SA5008 encoding/json ignores the name
		Bad      int `json:"in\\valid"`
		Options  int `json:",omitempty"`
		Chan     any `json:"größe"`
		unsorted int
	}
	recursive struct {
		*recursive //lint:ignore U1000 its fields are not promoted twice
		X          int
	}
)

// Whatever encoding/json writes is known by name, and nothing else.
func TestFieldsAreThoseOfEncodingJSON(t *testing.T) {
	for _, value := range []any{
		outer{Other: &Other{}, Renamed: 1, Options: 1, unsorted: 1}, inner{}, Other{}, recursive{}, struct{}{}, struct{ inner }{},
		struct {
			inner
			Other
		}{},
	} {
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		var written map[string]any
		if err := json.Unmarshal(data, &written); err != nil {
			t.Fatal(err)
		}
		var want, got []string
		for name := range written {
			want = append(want, name)
		}
		for _, f := range fields(reflect.TypeOf(value)) {
			got = append(got, f.name)
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%T: %q, want %q", value, got, want)
		}
	}
}
