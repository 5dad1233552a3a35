package schemaregistry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/twmb/avro"

	"github.com/skeji/kafka"
)

// Avro's schema resolution ignores logical types: a count of microseconds is read as one of milliseconds if the
// reader's schema says so. This file compares the logical types of both schemas, and converts counts of one unit into
// counts of another in the bytes, before they are decoded.

// units are counts for each second, by the ends of the names of the logical types that have units.
var units = map[string]int64{"millis": 1_000, "micros": 1_000_000, "nanos": 1_000_000_000}

// unitOf returns what a logical type counts, and its unit: "timestamp" and 1,000 of timestamp-millis.
func unitOf(logical string) (what string, perSecond int64) {
	dash := strings.LastIndexByte(logical, '-')
	if dash < 0 {
		return "", 0
	}
	return logical[:dash], units[logical[dash+1:]]
}

// carriers are the types that the specification gives each logical type. On others it means nothing.
var carriers = map[string][]string{
	"date": {"int"}, "time-millis": {"int"}, "time-micros": {"long"},
	"timestamp-millis": {"long"}, "timestamp-micros": {"long"}, "timestamp-nanos": {"long"},
	"local-timestamp-millis": {"long"}, "local-timestamp-micros": {"long"}, "local-timestamp-nanos": {"long"},
	"decimal": {"bytes", "fixed"}, "big-decimal": {"bytes"}, "duration": {"fixed"}, "uuid": {"string", "fixed"},
}

// conversion rewrites values of the writer's schema, whose structure stays, so that their times have the units of the
// codec's schema.
type conversion struct {
	root  *step
	lossy bool // some unit is coarser than the writer's: values with digits below it are refused
}

// conversionOf compares two schemas that can be resolved. It returns nil if no unit differs.
func conversionOf(writer, own *avro.Schema) (*conversion, error) {
	c := comparison{steps: map[[2]*avro.SchemaNode]*step{}}
	root, err := c.step(rootOf(writer), rootOf(own), "")
	if err != nil || !c.converts {
		return nil, err
	}
	return &conversion{root, c.lossy}, nil
}

func (c *conversion) apply(data []byte) ([]byte, error) {
	converted, rest, err := c.root.copy(make([]byte, 0, 2*len(data)), data, 0)
	if err == nil {
		return append(converted, rest...), nil // what is left over is refused by who decodes it
	}
	if fault, ok := err.(*kafka.DecodeError); ok {
		return nil, fault
	}
	return nil, &kafka.DecodeError{Reason: fmt.Sprintf("%v, in %d bytes", err, len(data)), Err: err}
}

// place is a node of a schema, with what its names mean there.
type place struct {
	node  *avro.SchemaNode
	scope string
	types map[string]*avro.SchemaNode // by full name
}

func rootOf(schema *avro.Schema) place {
	root := schema.Root()
	if whole, err := root.Schema(); err == nil { // with the definitions that it refers to
		root = whole.Root()
	}
	types := map[string]*avro.SchemaNode{}
	collect(root, types)
	return place{root, "", types}
}

func collect(node *avro.SchemaNode, types map[string]*avro.SchemaNode) {
	if name := fullName(node); name != "" && types[name] == nil {
		types[name] = node
	}
	for i := range node.Fields {
		collect(&node.Fields[i].Type, types)
	}
	for i := range node.Branches {
		collect(&node.Branches[i], types)
	}
	for _, inner := range []*avro.SchemaNode{node.Items, node.Values} {
		if inner != nil {
			collect(inner, types)
		}
	}
}

// fullName returns the name of a record, enum or fixed, and "" for other types.
func fullName(node *avro.SchemaNode) string {
	switch {
	case !slices.Contains([]string{"record", "error", "enum", "fixed"}, node.Type):
		return ""
	case node.Namespace == "" || strings.Contains(node.Name, "."):
		return node.Name
	}
	return node.Namespace + "." + node.Name
}

func shortName(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// definition returns the place itself, or what it refers to.
func (p place) definition() place {
	defined := p.types[p.scope+"."+p.node.Type]
	if defined == nil {
		defined = p.types[p.node.Type]
	}
	if defined != nil {
		p.node = defined
	}
	if name := fullName(p.node); name != "" {
		p.scope = strings.TrimSuffix(strings.TrimSuffix(name, shortName(name)), ".")
	}
	return p
}

func (p place) at(node *avro.SchemaNode) place { return place{node, p.scope, p.types} }

// field returns a field's type, with the logical type that some write beside the type instead of in it.
func (p place) field(i int) place {
	field := &p.node.Fields[i]
	beside, _ := field.Props["logicalType"].(string)
	if beside == "" || field.Type.LogicalType != "" {
		return p.at(&field.Type)
	}
	lifted := field.Type
	lifted.LogicalType = beside
	lifted.Branches = slices.Clone(lifted.Branches)
	for i := range lifted.Branches {
		if lifted.Branches[i].LogicalType == "" {
			lifted.Branches[i].LogicalType = beside
		}
	}
	return p.at(&lifted)
}

// logical returns the logical type that counts: none that the specification gives to other types.
func (p place) logical() string {
	if types, known := carriers[p.node.LogicalType]; known && !slices.Contains(types, p.node.Type) {
		return ""
	}
	return p.node.LogicalType
}

// comparison makes the steps of a conversion.
type comparison struct {
	steps           map[[2]*avro.SchemaNode]*step
	converts, lossy bool
}

// step copies one value of the writer's schema from src to dst.
type step struct {
	copy copier
}

// copier appends the first value of src to dst.
type copier func(dst, src []byte, depth int) (copied, rest []byte, err error)

// step compares the writer's node with that of the codec's schema, which is zero where the value is skipped.
func (c *comparison) step(writer, own place, path string) (*step, error) {
	writer = writer.definition()
	if own.node != nil {
		own = own.definition()
	}
	if own.node != nil && own.node.Type == "union" && writer.node.Type != "union" {
		if own = own.branchFor(writer); own.node == nil {
			return nil, errors.New("no branch of the union fits")
		}
		return c.step(writer, own, path)
	}
	key := [2]*avro.SchemaNode{writer.node, own.node}
	if known := c.steps[key]; known != nil {
		return known, nil
	}
	s := &step{}
	c.steps[key] = s // a record may contain itself
	var err error
	switch writer.node.Type {
	case "record", "error":
		err = c.record(s, writer, own, path)
	case "union":
		err = c.union(s, writer, own, path)
	case "array", "map":
		err = c.blocks(s, writer, own, path)
	default:
		err = c.leaf(s, writer, own, path)
	}
	return s, err
}

func (c *comparison) record(s *step, writer, own place, path string) error {
	var fields []*step
	for i := range writer.node.Fields {
		name := writer.node.Fields[i].Name
		var reads place
		if own.node != nil {
			if j := own.fieldFor(name); j >= 0 {
				reads = own.field(j)
			}
		}
		inner := strings.TrimPrefix(path+"."+name, ".")
		field, err := c.step(writer.field(i), reads, inner)
		if err != nil {
			return err
		}
		fields = append(fields, field)
	}
	s.copy = nested(func(dst, src []byte, depth int) (_, _ []byte, err error) {
		for _, field := range fields {
			if dst, src, err = field.copy(dst, src, depth); err != nil {
				return nil, nil, err
			}
		}
		return dst, src, nil
	})
	return nil
}

// fieldFor returns which field a writer's field is read into: the one of its name, or one with such an alias.
func (p place) fieldFor(name string) int {
	if i := slices.IndexFunc(p.node.Fields, func(f avro.SchemaField) bool { return f.Name == name }); i >= 0 {
		return i
	}
	return slices.IndexFunc(p.node.Fields, func(f avro.SchemaField) bool { return slices.Contains(f.Aliases, name) })
}

func (c *comparison) union(s *step, writer, own place, path string) error {
	var branches []*step
	for i := range writer.node.Branches {
		branch, err := c.step(writer.at(&writer.node.Branches[i]), own, path)
		if err != nil {
			return err
		}
		branches = append(branches, branch)
	}
	s.copy = nested(func(dst, src []byte, depth int) ([]byte, []byte, error) {
		index, rest, err := readLong(src)
		if err != nil || index < 0 || index >= int64(len(branches)) {
			return nil, nil, errMalformed
		}
		return branches[index].copy(binary.AppendVarint(dst, index), rest, depth)
	})
	return nil
}

// promotions are the types that a value of another type is read as.
var promotions = map[string][]string{
	"int": {"long", "float", "double"}, "long": {"float", "double"}, "float": {"double"},
	"string": {"bytes"}, "bytes": {"string"},
}

// branchFor returns the branch of a union that a value of the writer's type is read as: the one of its type and full
// name, of its type and short name, or the first that it can be widened to.
func (p place) branchFor(writer place) place {
	kind, name := writer.node.Type, fullName(writer.node)
	named := func(own place, same func(other string) bool) bool {
		names := append([]string{fullName(own.node)}, own.node.Aliases...)
		return own.node.Type == kind && own.node.Size == writer.node.Size && slices.ContainsFunc(names, same)
	}
	for _, fits := range []func(own place) bool{
		func(own place) bool { return named(own, func(other string) bool { return other == name }) },
		func(own place) bool {
			return named(own, func(other string) bool { return shortName(other) == shortName(name) })
		},
		func(own place) bool { return slices.Contains(promotions[kind], own.node.Type) },
	} {
		for i := range p.node.Branches {
			if branch := p.at(&p.node.Branches[i]).definition(); fits(branch) {
				return branch
			}
		}
	}
	return place{}
}

func (c *comparison) blocks(s *step, writer, own place, path string) error {
	isMap := writer.node.Type == "map"
	values := func(p place) place {
		switch {
		case p.node == nil:
			return place{}
		case isMap:
			return p.at(p.node.Values)
		}
		return p.at(p.node.Items)
	}
	item, err := c.step(values(writer), values(own), path)
	if err != nil {
		return err
	}
	s.copy = nested(func(dst, src []byte, depth int) ([]byte, []byte, error) {
		for {
			count, rest, err := readLong(src)
			if err == nil && count < 0 { // then the block's size follows, which is another one after the conversion
				_, rest, err = readLong(rest)
				count = -count
			}
			if err != nil || count < 0 {
				return nil, nil, errMalformed
			}
			dst, src = binary.AppendVarint(dst, count), rest
			if count == 0 {
				return dst, src, nil
			}
			for range count {
				before := len(src)
				if isMap {
					if dst, src, err = copyText(dst, src, depth); err != nil {
						return nil, nil, err
					}
				}
				if dst, src, err = item.copy(dst, src, depth); err != nil {
					return nil, nil, err
				}
				if len(src) == before { // items take no bytes: as many of them as anybody claims
					break
				}
			}
		}
	})
	return nil
}

func (c *comparison) leaf(s *step, writer, own place, path string) error {
	switch writer.node.Type {
	case "null":
		s.copy = copyBytes(0)
	case "boolean":
		s.copy = copyBytes(1)
	case "float":
		s.copy = copyBytes(4)
	case "double":
		s.copy = copyBytes(8)
	case "fixed":
		s.copy = copyBytes(writer.node.Size)
	case "string", "bytes":
		s.copy = copyText
	case "int", "long", "enum":
		s.copy = copyLong
	default:
		return fmt.Errorf("type %s is not known", writer.node.Type)
	}
	if own.node == nil || writer.node.Type == "string" && own.node.Type == "string" {
		return nil
	}
	written, wanted := writer.logical(), own.logical()
	if written == "" || wanted == "" || written == wanted {
		return nil
	}
	field := ""
	if path != "" {
		field = "field " + path + ": "
	}
	from, fromUnit := unitOf(written)
	to, toUnit := unitOf(wanted)
	if from != to || fromUnit == 0 || toUnit == 0 || writer.node.Type != own.node.Type {
		return fmt.Errorf("%swritten as %s, which can't be read as %s", field, written, wanted)
	}
	c.converts = true
	if toUnit > fromUnit {
		tooLarge := fmt.Sprintf("%sits %s is out of the range of %s", field, written, wanted)
		s.copy = multiply(toUnit/fromUnit, &kafka.DecodeError{Reason: tooLarge})
		return nil
	}
	c.lossy = true
	tooFine := fmt.Sprintf("%sits %s has digits that %s can't hold; give the codec a schema with %s",
		field, written, wanted, written)
	s.copy = divide(fromUnit/toUnit, &kafka.DecodeError{Reason: tooFine})
	return nil
}

var errMalformed = errors.New("invalid Avro")

// maxDepth is how deep values may be nested, as in package avro.
const maxDepth = 1000

func nested(copy copier) copier {
	return func(dst, src []byte, depth int) ([]byte, []byte, error) {
		if depth >= maxDepth {
			return nil, nil, errMalformed
		}
		return copy(dst, src, depth+1)
	}
}

func readLong(src []byte) (int64, []byte, error) {
	n, size := binary.Varint(src)
	if size <= 0 {
		return 0, nil, errMalformed
	}
	return n, src[size:], nil
}

func copyLong(dst, src []byte, _ int) ([]byte, []byte, error) {
	n, rest, err := readLong(src)
	return binary.AppendVarint(dst, n), rest, err
}

func copyBytes(size int) copier {
	return func(dst, src []byte, _ int) ([]byte, []byte, error) {
		if len(src) < size {
			return nil, nil, errMalformed
		}
		return append(dst, src[:size]...), src[size:], nil
	}
}

func copyText(dst, src []byte, _ int) ([]byte, []byte, error) {
	size, rest, err := readLong(src)
	if err != nil || size < 0 || size > int64(len(rest)) {
		return nil, nil, errMalformed
	}
	return append(binary.AppendVarint(dst, size), rest[:size]...), rest[size:], nil
}

func multiply(factor int64, tooLarge error) copier {
	return func(dst, src []byte, _ int) ([]byte, []byte, error) {
		n, rest, err := readLong(src)
		if err == nil && (n > math.MaxInt64/factor || n < math.MinInt64/factor) {
			err = tooLarge
		}
		return binary.AppendVarint(dst, n*factor), rest, err
	}
}

func divide(factor int64, tooFine error) copier {
	return func(dst, src []byte, _ int) ([]byte, []byte, error) {
		n, rest, err := readLong(src)
		if err == nil && n%factor != 0 {
			err = tooFine
		}
		return binary.AppendVarint(dst, n/factor), rest, err
	}
}

// finerSchemas returns what may be inferred of T in place of milliseconds, coarsest first: a [time.Time] holds any
// unit. None where tags of T name units, or defaults are numbers of a unit.
func finerSchemas[T any]() (finer []*avro.Schema) {
	for _, unit := range []string{"timestamp-micros", "timestamp-nanos"} {
		times := avro.CustomType{GoType: reflect.TypeFor[time.Time](), AvroType: "long", LogicalType: unit}
		schema, err := avro.SchemaFor[T](times)
		if err != nil || hasDefaults(schema) {
			return nil
		}
		if schema, err = avro.Parse(schema.String()); err == nil { // without the custom type
			finer = append(finer, schema)
		}
	}
	return finer
}

// hasDefaults reports whether a timestamp has a default.
func hasDefaults(schema *avro.Schema) bool {
	root := rootOf(schema)
	types := append(slices.Collect(maps.Values(root.types)), root.node)
	return slices.ContainsFunc(types, func(record *avro.SchemaNode) bool {
		return slices.ContainsFunc(record.Fields, func(f avro.SchemaField) bool {
			return f.Default != nil && strings.HasPrefix(f.Type.LogicalType, "timestamp-")
		})
	})
}
