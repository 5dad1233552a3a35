// Package manifest reads and writes topic lists as YAML: a plain format, and the KafkaTopic resources of the Strimzi
// operator for Kubernetes.
//
//	topics:
//	  - name: orders
//	    partitions: 6
//	    replicationFactor: 3
//	    allowGrow: true        # see topics.Topic
//	    config:
//	      retention.ms: 604800000
//
// What a file says that is not understood is an error with its line. Numbers keep their digits: nothing goes through a
// floating point number. What YAML's readers disagree about, such as yes, 0644 or 1e3, must be quoted or written out.
// Anchors, aliases and merge keys work, and a field at the top whose name begins with x- is a place for them; JSON is YAML.
//
// It is a package of its own so that only those who read files depend on a YAML parser.
package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/skeji/kafka/topics"
)

// Load reads every document of r, each in the format that it is in. All mistakes are reported at once. The list is not
// validated: its methods do that.
func Load(r io.Reader) (topics.List, error) { return new(Loader).Load(r) }

// LoadFS is [Load] for all files that match a pattern, in the way of [fs.Glob], in the order of the patterns. An embed.FS
// makes the list a part of the program. A pattern that matches nothing is an error.
func LoadFS(fsys fs.FS, patterns ...string) (topics.List, error) {
	return new(Loader).LoadFS(fsys, patterns...)
}

// LoadFile is [Load] for one file.
func LoadFile(name string) (topics.List, error) { return new(Loader).LoadFile(name) }

// Loader reads topic lists as [Load] does, and says which of the Strimzi resources are meant. Not read are those that the operator
// would not create or change: with a metadata.deletionTimestamp, or the annotation strimzi.io/managed "false" or
// strimzi.io/pause-reconciliation "true". All that one Loader reads is one list.
type Loader struct {
	// Cluster is the Kafka resource whose topics are read: resources whose label strimzi.io/cluster is another one, or missing, are
	// skipped. Default: all, but where their labels name more than one cluster, that is [ErrClusters].
	Cluster string
	// OnSkip is called with each KafkaTopic resource that is not read, and why.
	OnSkip func(Skipped)

	seen string // the cluster that resources have named so far
}

// Load is the function [Load] with the Loader's choice.
func (l *Loader) Load(r io.Reader) (topics.List, error) { return l.load(r, "", anyFormat) }

// LoadFS is the function [LoadFS] with the Loader's choice.
func (l *Loader) LoadFS(fsys fs.FS, patterns ...string) (topics.List, error) {
	var list topics.List
	var faults []error
	for _, pattern := range patterns {
		names, err := fs.Glob(fsys, pattern)
		if err == nil && len(names) == 0 {
			err = errors.New("matches no file")
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("manifest: pattern %q: %w", pattern, err))
		}
		for _, name := range names {
			file, err := fsys.Open(name)
			part, err := l.loadFile(file, err, name)
			list, faults = append(list, part...), append(faults, err)
		}
	}
	if len(list) > 0 { // files of other clusters may stand beside those that are meant
		faults = slices.DeleteFunc(faults, func(err error) bool { return errors.Is(err, ErrAllSkipped) })
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return list, nil
}

// LoadFile is the function [LoadFile] with the Loader's choice.
func (l *Loader) LoadFile(name string) (topics.List, error) {
	file, err := os.Open(name)
	return l.loadFile(file, err, name)
}

func (l *Loader) loadFile(file io.ReadCloser, err error, name string) (topics.List, error) {
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	defer file.Close()
	return l.load(file, name, anyFormat)
}

// format reads one document.
type format func(d *document, node *yaml.Node) topics.List

// anyFormat tells Kubernetes resources by their apiVersion.
func anyFormat(d *document, node *yaml.Node) topics.List {
	if node.Kind == yaml.MappingNode && header(node, "apiVersion")+header(node, "kind") != "" {
		return strimzi(d, node)
	}
	return plain(d, node)
}

func (l *Loader) load(r io.Reader, name string, read format) (topics.List, error) {
	d := newDocument(name, l)
	var list topics.List
	for decoder := yaml.NewDecoder(r); ; {
		var node yaml.Node
		switch err := decoder.Decode(&node); {
		case errors.Is(err, io.EOF):
			for _, skipped := range d.skips {
				if l.OnSkip != nil {
					l.OnSkip(skipped)
				}
			}
			if len(d.faults) == 0 && len(list) == 0 {
				d.faults = append(d.faults, d.nothing())
			}
			if len(d.faults) > 0 {
				return nil, errors.Join(d.faults...)
			}
			return list, nil
		case err != nil: // the rest can't be read
			return nil, errors.Join(append(d.faults, fmt.Errorf("manifest: %s%w", d.where(), err))...)
		}
		if root := node.Content[0]; root.Tag != "!!null" { // nothing but comments between two lines of ---
			list = append(list, read(d, root)...)
		}
	}
}

// nothing is the error of a file without a topic.
func (d *document) nothing() error {
	if len(d.skips) == 0 {
		return fmt.Errorf("manifest: %sno topic in it", d.where())
	}
	first := d.skips[0]
	return fmt.Errorf("manifest: %s%w, %d of them, such as %q: %s", d.where(), ErrAllSkipped, len(d.skips), first.Resource, first.Why)
}

// plain reads a document of the plain format.
func plain(d *document, node *yaml.Node) (list topics.List) {
	ours := yaml.Node{Kind: node.Kind, Line: node.Line}
	for i := 0; i+1 < len(node.Content) && node.Kind == yaml.MappingNode; i += 2 {
		if !strings.HasPrefix(node.Content[i].Value, "x-") { // a place for anchors
			ours.Content = append(ours.Content, node.Content[i], node.Content[i+1])
		}
	}
	d.mapping(&ours, fields{
		"topics": func(node *yaml.Node) {
			d.sequence(node, func(node *yaml.Node) {
				var topic topics.Topic
				seen := d.mapping(node, fields{
					"name":              func(node *yaml.Node) { topic.Name = d.text(node) },
					"partitions":        func(node *yaml.Node) { topic.Partitions = int32(d.integer(node, 1<<31-1)) },
					"replicationFactor": func(node *yaml.Node) { topic.ReplicationFactor = int16(d.integer(node, 1<<15-1)) },
					"allowGrow":         func(node *yaml.Node) { topic.AllowGrow = d.boolean(node) },
					"config":            func(node *yaml.Node) { topic.Config = d.settings(node) },
				})
				if seen != nil && !seen["name"] {
					d.addf(node, "a topic without a name")
				}
				list = append(list, topic)
			})
		},
	})
	return list
}
