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
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/skeji/kafka/topics"
)

// Load reads every document of r, each in the format that it is in. All mistakes are reported at once. The list is not
// validated: its methods do that.
func Load(r io.Reader) (topics.List, error) { return load(r, "", anyFormat) }

// LoadFS is [Load] for all files that match a pattern, in the way of [fs.Glob], in the order of the patterns. An embed.FS
// makes the list a part of the program. A pattern that matches nothing is an error.
func LoadFS(fsys fs.FS, patterns ...string) (topics.List, error) {
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
			part, err := loadFile(file, err, name)
			list, faults = append(list, part...), append(faults, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return list, nil
}

// LoadFile is [Load] for one file.
func LoadFile(name string) (topics.List, error) {
	file, err := os.Open(name)
	return loadFile(file, err, name)
}

func loadFile(file io.ReadCloser, err error, name string) (topics.List, error) {
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	defer file.Close()
	return load(file, name, anyFormat)
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

func load(r io.Reader, name string, read format) (topics.List, error) {
	d := newDocument(name)
	var list topics.List
	for decoder := yaml.NewDecoder(r); ; {
		var node yaml.Node
		switch err := decoder.Decode(&node); {
		case errors.Is(err, io.EOF):
			if len(d.faults) == 0 && len(list) == 0 {
				d.faults = append(d.faults, fmt.Errorf("manifest: %sno topic in it", d.where()))
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
