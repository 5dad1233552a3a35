package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// sources are the folders of the packages that plants are put into, relative to the module's root.
var sources = []string{".", "internal/engine"}

// library is the source of these packages without their tests.
type library struct {
	fset  *token.FileSet
	files map[string]*ast.File // by path, relative to the module's root
	text  map[string][]byte
}

func load(root string) (*library, error) {
	var paths []string
	for _, folder := range sources {
		inFolder, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
		if err != nil {
			return nil, err
		}
		paths = append(paths, inFolder...)
	}
	l := &library{token.NewFileSet(), map[string]*ast.File{}, map[string][]byte{}}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(l.fset, path, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return nil, err
		}
		l.files[name], l.text[name] = file, text
	}
	return l, nil
}

// apply returns the name of the file with the plant's place, and the file's text with the bug in it.
func (l *library) apply(p plant) (file string, text []byte, err error) {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("plant %q: %s: change its entry in internal/plants/table.go so that it names the function "+
			"and the statement or expression that do this now", p.name, fmt.Sprintf(format, args...))
	}
	pattern, err := parse(p.find)
	if err != nil {
		return "", nil, wrong("its pattern %q does not parse: %v", p.find, err)
	}
	file, body, n := l.function(p.function)
	if n != 1 {
		return "", nil, wrong("the library has %d functions %s, want 1", n, p.function)
	}
	var found []ast.Node
	ast.Inspect(body, func(node ast.Node) bool {
		if node != nil && same(reflect.ValueOf(node), reflect.ValueOf(pattern)) {
			found = append(found, node)
		}
		return true
	})
	if len(found) != 1 {
		return "", nil, wrong("function %s in %s has %d matches of %q, want 1", p.function, file, len(found), p.find)
	}
	from, to := l.fset.Position(found[0].Pos()).Offset, l.fset.Position(found[0].End()).Offset
	text = slices.Concat(l.text[file][:from], []byte(p.replace), l.text[file][to:])
	if _, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution); err != nil {
		return "", nil, wrong("%s does not parse with %q in place of %q: %v", file, p.replace, p.find, err)
	}
	return file, text, nil
}

// function finds a function by name, or a method by its type and name, and counts those that have the name.
func (l *library) function(name string) (file string, body *ast.BlockStmt, n int) {
	for candidate, parsed := range l.files {
		for _, declaration := range parsed.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && f.Body != nil && nameOf(f) == name {
				file, body = candidate, f.Body
				n++
			}
		}
	}
	return file, body, n
}

// nameOf returns partition.pass for func (p *partition) pass().
func nameOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	receiver := f.Recv.List[0].Type
	for {
		switch t := receiver.(type) {
		case *ast.StarExpr:
			receiver = t.X
		case *ast.IndexExpr: // a generic type
			receiver = t.X
		case *ast.Ident:
			return t.Name + "." + f.Name.Name
		default:
			return f.Name.Name
		}
	}
}

// parse reads an expression or a statement.
func parse(source string) (ast.Node, error) {
	if expression, err := parser.ParseExpr(source); err == nil {
		return expression, nil
	}
	source = "package p; func _() {" + source + "\n}"
	file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	statements := file.Decls[0].(*ast.FuncDecl).Body.List
	if len(statements) != 1 {
		return nil, fmt.Errorf("%d statements, want 1", len(statements))
	}
	return statements[0], nil
}

var (
	positions = reflect.TypeFor[token.Pos]()
	comments  = reflect.TypeFor[*ast.CommentGroup]()
)

// same compares two syntax trees and ignores comments and positions. Only whether there is a position matters: f(x...)
// has one for its dots, and f(x) has none.
func same(a, b reflect.Value) bool {
	if a.Kind() == reflect.Interface && b.Kind() == reflect.Interface {
		a, b = a.Elem(), b.Elem()
	}
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() {
		return false
	}
	switch a.Type() {
	case comments:
		return true
	case positions:
		return (a.Int() == 0) == (b.Int() == 0)
	}
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return same(a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	}
	return a.Equal(b)
}
