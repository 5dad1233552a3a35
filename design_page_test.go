package kafka_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"testing"
)

// DESIGN.md names the code that holds each promise. What is renamed or removed is so there, too.
func TestTheDesignNamesWhatThereIs(t *testing.T) {
	members := map[string]map[string]bool{}
	for _, folder := range []string{".", "internal/engine", "middleware", "deadletter", "topics", "kafkatest", "integration"} {
		for _, withTests := range []bool{false, true} {
			for _, path := range goFiles(t, folder, withTests) {
				file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
				if err != nil {
					t.Fatal(err)
				}
				noteMembers(file, members)
			}
		}
	}
	for _, m := range regexp.MustCompile("`([A-Za-z]+)\\.([A-Za-z]+)`").FindAllStringSubmatch(readText(t, "DESIGN.md"), -1) {
		if known := members[m[1]]; known != nil && !known[m[2]] {
			t.Errorf("DESIGN.md names %s.%s, which is not there", m[1], m[2])
		}
	}
}

// noteMembers notes the fields and methods of each type.
func noteMembers(file *ast.File, members map[string]map[string]bool) {
	note := func(of, name string) {
		if members[of] == nil {
			members[of] = map[string]bool{}
		}
		members[of][name] = true
	}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv != nil {
				note(receiver(decl).Name, decl.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				if spec, ok := spec.(*ast.TypeSpec); ok {
					if body, ok := spec.Type.(*ast.StructType); ok {
						for _, field := range body.Fields.List {
							for _, name := range field.Names {
								note(spec.Name.Name, name.Name)
							}
						}
					}
				}
			}
		}
	}
}
