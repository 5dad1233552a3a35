package jsontype

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// NameError says what is wrong with the names of an object. It repeats names of Go types' fields, and none that is
// data.
type NameError struct{ Reason string }

func (e *NameError) Error() string { return e.Reason }

// CheckNames refuses names in valid JSON by which two readers may understand two things: a name that is twice in an
// object, and the name of a struct's field in another case. Names of maps are data, and may differ in case alone. Names
// that are read by a type's own UnmarshalJSON, or kept as [json.RawMessage], may not: they may be a struct's after all.
// Other unknown names are ignored.
func CheckNames(data []byte, t reflect.Type) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return names{decoder}.value(t)
}

type names struct{ decoder *json.Decoder }

var (
	raw      = reflect.TypeFor[json.RawMessage]()
	anything = reflect.TypeFor[any]()
)

// value looks at the next value, which is read into a t.
func (n names) value(t reflect.Type) error {
	token, err := n.decoder.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		return n.object(target(t))
	case json.Delim('['):
		t = target(t)
		if kind := t.Kind(); t != raw && (kind == reflect.Slice || kind == reflect.Array) {
			t = t.Elem()
		}
		for n.decoder.More() {
			if err := n.value(t); err != nil {
				return err
			}
		}
		_, err = n.decoder.Token()
	}
	return err
}

// target returns what a value is really read into: not a pointer, and raw where t's own method reads it.
func target(t reflect.Type) reflect.Type {
	for {
		pointer := reflect.PointerTo(t)
		for _, own := range unmarshalers {
			if t.Implements(own) || pointer.Implements(own) {
				return raw
			}
		}
		if t.Kind() != reflect.Pointer {
			return t
		}
		t = t.Elem()
	}
}

func (n names) object(t reflect.Type) error {
	var known *members
	inner := anything
	switch {
	case t == raw:
		inner = raw
	case t.Kind() == reflect.Struct:
		known = membersOf(t)
	case t.Kind() == reflect.Map:
		inner = t.Elem()
	}
	seen := map[any]bool{}
	for n.decoder.More() {
		token, err := n.decoder.Token()
		if err != nil {
			return err
		}
		name := token.(string)
		key, twice := any(name), "a name twice in an object"
		switch {
		case known != nil && known.types[name] != nil:
			inner, twice = known.types[name], fmt.Sprintf("field %q twice", name)
		case known != nil:
			if field, ok := known.folded[fold(name)]; ok {
				return &NameError{fmt.Sprintf("field %q in another case", field)}
			}
			inner = anything
		case t == raw:
			key, twice = fold(name), "a name twice in an object, or names that differ only in case"
		case t.Kind() == reflect.Map:
			key = keyOf(name, t.Key())
		}
		if seen[key] {
			return &NameError{twice}
		}
		seen[key] = true
		if err := n.value(inner); err != nil {
			return err
		}
	}
	_, err := n.decoder.Token()
	return err
}

// keyOf returns the key of a map that a name is read as: "1" and "01" are one integer.
func keyOf(name string, t reflect.Type) any {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		key := reflect.New(t)
		if key.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(name)) == nil && key.Elem().Comparable() {
			return key.Elem().Interface()
		}
		return name
	}
	if i, err := strconv.ParseInt(name, 10, 64); err == nil && t.Kind() != reflect.String {
		return i
	}
	if u, err := strconv.ParseUint(name, 10, 64); err == nil && t.Kind() != reflect.String {
		return u
	}
	return name
}

// members are the fields of a struct's object.
type members struct {
	types  map[string]reflect.Type
	folded map[string]string // their names, by what they are in any case
}

var membersByType sync.Map // of *members, by reflect.Type

func membersOf(t reflect.Type) *members {
	if known, ok := membersByType.Load(t); ok {
		return known.(*members)
	}
	m := &members{map[string]reflect.Type{}, map[string]string{}}
	for _, f := range fields(t) {
		m.types[f.name] = f.typ
		m.folded[fold(f.name)] = f.name
	}
	membersByType.Store(t, m)
	return m
}

// fold returns what names that encoding/json takes for one another have in common.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, name)
}
