package manifest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document collects what is wrong, with its line, while a format takes nodes apart.
type document struct {
	file   string
	loader *Loader
	skips  []Skipped
	faults []error
	told   map[string]bool     // the faults' texts: a merged mapping is read many times
	open   map[*yaml.Node]bool // mappings that are being read
	merges int
}

func newDocument(file string, loader *Loader) *document {
	return &document{file: file, loader: loader, told: map[string]bool{}, open: map[*yaml.Node]bool{}}
}

// fields says what to do with the value of each key of a mapping.
type fields map[string]func(*yaml.Node)

func (d *document) where() string {
	if d.file == "" {
		return ""
	}
	return d.file + ": "
}

func (d *document) addf(node *yaml.Node, format string, args ...any) {
	fault := fmt.Errorf("manifest: %sline %d: %w", d.where(), node.Line, fmt.Errorf(format, args...))
	if !d.told[fault.Error()] {
		d.told[fault.Error()] = true
		d.faults = append(d.faults, fault)
	}
}

// orNull leaves null alone, which for Kubernetes is a field that is not there.
func orNull(read func(*yaml.Node)) func(*yaml.Node) {
	return func(node *yaml.Node) {
		if node.Kind != yaml.ScalarNode || node.Tag != "!!null" {
			read(node)
		}
	}
}

// mapping calls the function of each key, and returns the keys it saw, or nil if node is no mapping. A key without a
// function is a mistake.
func (d *document) mapping(node *yaml.Node, known fields) (seen map[string]bool) {
	return d.each(node, func(key, value *yaml.Node) {
		read := known[key.Value]
		if read == nil {
			d.addf(key, "unknown field %q: want one of %s", key.Value, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
			return
		}
		read(value)
	})
}

// mostMerges bounds the work of mappings that merge others that merge others.
const mostMerges = 100_000

// each calls do for each key and value: those of merged mappings first, so that the mapping's own win.
func (d *document) each(node *yaml.Node, do func(key, value *yaml.Node)) (seen map[string]bool) {
	node = target(node)
	switch {
	case node.Kind != yaml.MappingNode:
		d.addf(node, "want a mapping (key: value)")
		return nil
	case d.open[node]:
		d.addf(node, "a mapping that merges itself")
		return nil
	}
	d.open[node] = true
	defer delete(d.open, node)
	seen = map[string]bool{}
	for i := 0; i < len(node.Content); i += 2 {
		if key, value := node.Content[i], target(node.Content[i+1]); key.Tag == "!!merge" {
			merged := []*yaml.Node{value}
			if value.Kind == yaml.SequenceNode {
				merged = slices.Clone(value.Content)
				slices.Reverse(merged) // the first of them wins
			}
			for _, m := range merged {
				if d.merges++; d.merges > mostMerges {
					d.addf(key, "more than %d merges", mostMerges)
					return seen
				}
				maps.Copy(seen, d.each(m, do))
			}
		}
	}
	own := map[string]bool{}
	for i := 0; i < len(node.Content); i += 2 {
		key, value := target(node.Content[i]), target(node.Content[i+1])
		switch {
		case key.Tag == "!!merge":
		case key.Kind != yaml.ScalarNode:
			d.addf(key, "want a name as the key")
		case own[key.Value]:
			d.addf(key, "field %q stands twice", key.Value)
		default:
			own[key.Value] = true
			do(key, value)
		}
	}
	maps.Copy(seen, own)
	return seen
}

// target follows an alias.
func target(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

func (d *document) sequence(node *yaml.Node, read func(*yaml.Node)) {
	if node.Kind != yaml.SequenceNode {
		d.addf(node, "want a list")
		return
	}
	for _, item := range node.Content {
		read(target(item))
	}
}

func (d *document) text(node *yaml.Node) string {
	if node.Kind != yaml.ScalarNode || node.Tag != "!!str" || doubtful(node) {
		d.addf(node, "want text: %s", quoteHint(node))
		return ""
	}
	return node.Value
}

var (
	integerText = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	decimalText = regexp.MustCompile(`^-?(0|[1-9][0-9]*)\.[0-9]+$`)
	// YAML 1.1, and with it Kubernetes, reads these as booleans, YAML 1.2 as text.
	doubtfulText = regexp.MustCompile(`^(?i:y|n|yes|no|on|off)$`)
)

func (d *document) integer(node *yaml.Node, largest int64) int64 {
	n, err := strconv.ParseInt(node.Value, 10, 64)
	if node.Kind != yaml.ScalarNode || node.Tag != "!!int" || !integerText.MatchString(node.Value) || err != nil || n < 1 || n > largest {
		d.addf(node, "want a whole number from 1 to %d", largest)
		return 0
	}
	return n
}

func (d *document) boolean(node *yaml.Node) bool {
	if node.Kind != yaml.ScalarNode || node.Tag != "!!bool" {
		d.addf(node, "want true or false")
	}
	return strings.EqualFold(node.Value, "true")
}

// settings reads a topic's config. Values keep the text that they are written with.
func (d *document) settings(node *yaml.Node) map[string]string {
	config := map[string]string{}
	d.each(node, func(key, value *yaml.Node) {
		if value.Kind == yaml.SequenceNode { // Kafka's lists
			var items []string
			d.sequence(value, func(item *yaml.Node) { items = append(items, d.setting(item)) })
			config[key.Value] = strings.Join(items, ",")
			return
		}
		config[key.Value] = d.setting(value)
	})
	return config
}

func (d *document) setting(node *yaml.Node) string {
	switch {
	case node.Kind != yaml.ScalarNode:
		d.addf(node, "want one value")
	case node.Tag == "!!str" && !doubtful(node):
		return node.Value
	case node.Tag == "!!bool":
		return strings.ToLower(node.Value)
	case node.Tag == "!!int" && integerText.MatchString(node.Value), node.Tag == "!!float" && decimalText.MatchString(node.Value):
		return node.Value
	case node.Tag == "!!null":
		d.addf(node, "no value: leave the setting out to leave it alone")
	default:
		d.addf(node, "readers of YAML disagree about %s: %s", node.Value, quoteHint(node))
	}
	return ""
}

// doubtful tells text that others read as a boolean.
func doubtful(node *yaml.Node) bool {
	const quoted = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	return node.Style&quoted == 0 && doubtfulText.MatchString(node.Value)
}

func quoteHint(node *yaml.Node) string {
	if node.Kind != yaml.ScalarNode {
		return "this is a list or a mapping"
	}
	return fmt.Sprintf("write %q if it is meant as text", node.Value)
}
