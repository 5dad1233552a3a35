// Package jsontype says what encoding/json makes of a Go type: which names its objects have, and which of its values
// would be written as {} without an error.
package jsontype

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// field is a member of an object that a struct is written as.
type field struct {
	name   string
	typ    reflect.Type
	depth  int // how many embedded structs it is in
	tagged bool
}

// fields returns the members of a struct's object: exported fields, and those of embedded structs. Of several of one
// name the one that is embedded least counts, then the one whose tag has the name, else none.
func fields(t reflect.Type) []field {
	var all []field
	visited := map[reflect.Type]bool{}
	for depth, level := 0, []reflect.Type{t}; len(level) > 0; depth++ {
		var next []reflect.Type
		for _, t := range level {
			for f := range t.Fields() {
				inner := f.Type
				if inner.Kind() == reflect.Pointer && inner.Name() == "" {
					inner = inner.Elem()
				}
				embedded := f.Anonymous && inner.Kind() == reflect.Struct
				tag := f.Tag.Get("json")
				if !f.IsExported() && !embedded || tag == "-" {
					continue
				}
				name, _, _ := strings.Cut(tag, ",")
				if strings.ContainsFunc(name, notInNames) {
					name = ""
				}
				switch {
				case name == "" && embedded:
					next = append(next, inner)
				case name != "":
					all = append(all, field{name, f.Type, depth, true})
				default:
					all = append(all, field{f.Name, f.Type, depth, false})
				}
			}
		}
		for _, t := range level {
			visited[t] = true
		}
		level = slices.DeleteFunc(next, func(t reflect.Type) bool { return visited[t] })
	}
	return slices.DeleteFunc(slices.Clone(all), func(f field) bool {
		return slices.ContainsFunc(all, func(other field) bool {
			better := other.depth < f.depth || other.depth == f.depth && other.tagged && !f.tagged
			return other.name == f.name && better
		}) || count(all, f) > 1
	})
}

// count returns how many fields are as good as f for its name.
func count(all []field, f field) (n int) {
	for _, other := range all {
		if other.name == f.name && other.depth == f.depth && other.tagged == f.tagged {
			n++
		}
	}
	return n
}

// notInNames reports what a name in a tag must not have.
func notInNames(r rune) bool {
	return !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
}

var (
	marshalers   = []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler]()}
	unmarshalers = []reflect.Type{reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()}
)

// CheckWritten returns an error if t, or a type within it, is a struct that has fields and none that JSON writes, so
// that what its values hold would be lost without an error. Types that write themselves may be anything: those with
// MarshalJSON or MarshalText, or one of the other interfaces. So may structs without fields, which hold nothing.
func CheckWritten(t reflect.Type, others ...reflect.Type) error {
	return check(t, true, append(others, marshalers...))
}

// CheckRead is [CheckWritten] for what is read.
func CheckRead(t reflect.Type, others ...reflect.Type) error {
	return check(t, false, append(others, unmarshalers...))
}

// checked is a question whose answer is kept, so that it can be asked for each value.
type checked struct {
	typ        reflect.Type
	write      bool
	interfaces int // how many make a type write itself: each caller has the same each time
}

var known sync.Map // of error or nil, by checked

func check(t reflect.Type, write bool, own []reflect.Type) error {
	if t == nil {
		return nil
	}
	key := checked{t, write, len(own)}
	if answer, ok := known.Load(key); ok {
		err, _ := answer.(error)
		return err
	}
	c := checker{write: write, own: own, seen: map[visit]bool{}}
	err := c.check(t, t.String(), true)
	known.Store(key, err)
	return err
}

type checker struct {
	write bool
	own   []reflect.Type // interfaces of types that write or read themselves
	seen  map[visit]bool
}

type visit struct {
	typ         reflect.Type
	addressable bool
}

// check looks at a type. Methods of its pointer count where values are addressable: not in maps that are written.
func (c *checker) check(t reflect.Type, path string, addressable bool) error {
	if key := (visit{t, addressable}); c.seen[key] {
		return nil
	} else {
		c.seen[key] = true
	}
	for _, own := range c.own {
		if t.Implements(own) || addressable && reflect.PointerTo(t).Implements(own) {
			return nil
		}
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return c.check(t.Elem(), path, true)
	case reflect.Array:
		return c.check(t.Elem(), path, addressable)
	case reflect.Map:
		return c.check(t.Elem(), path, !c.write)
	case reflect.Struct:
		if t.Size() == 0 {
			return nil
		}
		all := fields(t)
		if len(all) == 0 {
			return c.fault(t, path)
		}
		for _, f := range all {
			if err := c.check(f.typ, path+"."+f.name, addressable); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) fault(t reflect.Type, path string) error {
	where := ""
	if name := t.String(); path != name && path != "*"+name {
		where = " (in " + path + ")"
	}
	if c.write {
		return fmt.Errorf("%v has no exported field for JSON%s, so that its values would be written as {}: "+
			"export its fields, or give it MarshalJSON", t, where)
	}
	return fmt.Errorf("%v has no exported field for JSON%s, so that nothing would be read into it: "+
		"export its fields, or give it UnmarshalJSON", t, where)
}
