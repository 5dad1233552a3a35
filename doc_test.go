package kafka_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"
)

// Every exported name has a comment of its own: types, functions, methods, constants, variables, fields. What Error and Unwrap
// do, every Go developer knows.
func TestEveryExportedNameIsDocumented(t *testing.T) {
	for _, folder := range []string{".", "middleware", "middleware/tracing", "topics", "topics/manifest", "deadletter"} {
		files := token.NewFileSet()
		for _, path := range goFiles(t, folder, false) {
			file, err := parser.ParseFile(files, path, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			want := func(name *ast.Ident, comments ...*ast.CommentGroup) {
				for _, comment := range comments {
					if comment != nil {
						return
					}
				}
				if name.IsExported() {
					t.Errorf("%s: %s has no comment", files.Position(name.Pos()), name.Name)
				}
			}
			for _, decl := range file.Decls {
				switch decl := decl.(type) {
				case *ast.FuncDecl:
					known := decl.Name.Name == "Error" || decl.Name.Name == "Unwrap"
					if decl.Recv == nil || receiver(decl).IsExported() && !known {
						want(decl.Name, decl.Doc)
					}
				case *ast.GenDecl:
					for _, spec := range decl.Specs {
						switch spec := spec.(type) {
						case *ast.ValueSpec:
							comments := []*ast.CommentGroup{spec.Doc, spec.Comment}
							if !decl.Lparen.IsValid() {
								comments = append(comments, decl.Doc)
							}
							for _, name := range spec.Names {
								want(name, comments...)
							}
						case *ast.TypeSpec:
							want(spec.Name, spec.Doc, decl.Doc)
							if s, ok := spec.Type.(*ast.StructType); ok && spec.Name.IsExported() {
								for _, field := range s.Fields.List {
									for _, name := range field.Names {
										want(name, field.Doc, field.Comment)
									}
								}
							}
						}
					}
				}
			}
		}
	}
}

// receiver returns the name of a method's type.
func receiver(method *ast.FuncDecl) *ast.Ident {
	expr := method.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.Ident:
			return e
		}
	}
}
