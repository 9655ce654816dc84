// Package fence holds the walls of the house: which room may import what, and
// what no file may say. It has tests only; `go test` is all it takes.
package fence

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// room is one row of the fence. Paths are relative to the module; "x/..."
// means x and everything below it.
type room struct {
	path   string
	ours   []string // packages of this module it may import
	theirs []string // foreign modules it may import
	not    []string // standard packages it must not import
}

// Technologies, each known to one room.
var (
	broker = []string{"github.com/nats-io/...", "github.com/synadia-io/..."}
	fiber  = []string{"github.com/gofiber/...", "github.com/valyala/fasthttp/..."}
	mongo  = []string{"go.mongodb.org/mongo-driver/v2/..."}
	sqlite = []string{"modernc.org/sqlite/..."}

	outside = []string{"net/http", "database/sql"} // standard, and yet technology
)

// rooms is the import fence, read from top to bottom: the first row that
// matches a package is its row, and a package without a row has no place in
// the house. Packages whose name ends in "test" follow the rule of
// [testPackage] as well.
var rooms = []room{
	{path: "domain", theirs: []string{"github.com/google/uuid"}, not: outside},
	{path: "domain/logtest", ours: []string{"domain/..."}, theirs: testTools, not: outside},
	{path: "domain/...", ours: []string{"domain"}, not: outside},

	{path: "streams/...", ours: []string{"domain/...", "streams/...", "internal/..."},
		theirs: slices.Concat(plain, broker, []string{"github.com/gofrs/flock", "github.com/minio/highwayhash"}), not: outside[1:]},

	{path: "projections/mongostore", ours: []string{"projections", "domain/..."},
		theirs: slices.Concat(plain, mongo), not: outside},
	{path: "projections/sqlitestore", ours: []string{"projections", "domain/..."},
		theirs: slices.Concat(plain, sqlite), not: outside[:1]},
	{path: "projections/storetest", ours: []string{"projections", "domain/..."}, theirs: testTools, not: outside},
	{path: "projections", ours: []string{"domain/..."}, theirs: plain, not: outside},

	{path: "dispatch", ours: []string{"domain/...", "dispatch/..."}, theirs: plain, not: outside[1:]},
	{path: "dispatch/cloudapitest", ours: []string{"domain/...", "dispatch/..."}, theirs: plain, not: outside[1:]},
	{path: "dispatch/...", ours: []string{"domain/...", "dispatch"}, theirs: plain, not: outside[1:]},

	{path: "api/...", ours: []string{"domain/...", "api/..."}, theirs: slices.Concat(plain, fiber), not: outside[1:]},

	{path: "console/...", ours: []string{"console/..."}},
	{path: "deploy/...", theirs: slices.Concat(broker, []string{"github.com/compose-spec/compose-go/..."})},
	{path: "internal/...", ours: []string{"domain/...", "internal/..."}, theirs: []string{"..."}},
	{path: "cmd/...", ours: []string{"..."}, theirs: []string{"..."}},
}

var (
	// plain helpers carry no technology.
	plain = []string{"github.com/google/uuid", "golang.org/x/sync/...", "golang.org/x/time/..."}
	// testTools helpers are open to every test.
	testTools = []string{"github.com/stretchr/testify/...", "go.uber.org/goleak", "pgregory.net/rapid"}
)

// testPackage reports whether a package exists for tests: a conformance suite
// or a pretend outside world.
func testPackage(pkg string) bool { return strings.HasSuffix(pkg, "test") }

// The one production use of such a package: `sendlog dev` talks to the pretend
// Meta.
const devCommand, pretendMeta = "cmd/sendlog", "dispatch/cloudapitest"

// TestRoomsKeepTheirWalls: no file of this module crosses the import fence.
func TestRoomsKeepTheirWalls(t *testing.T) {
	t.Parallel()
	breaches, files, err := inspect(moduleRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("no Go file was inspected: the fence guards nothing")
	}
	for _, b := range breaches {
		t.Error(b)
	}
}

// TestFenceCatchesBreaches: every kind of breach, seeded into a small house,
// is reported, and what is allowed is not.
func TestFenceCatchesBreaches(t *testing.T) {
	t.Parallel()
	const own = "example.org/house/"
	tests := []struct {
		file, imports string
		breach        bool
	}{
		{"domain/id.go", "github.com/google/uuid", false},
		{"domain/id.go", "crypto/sha256", false},
		{"domain/id.go", "net/http", true},
		{"domain/id.go", "github.com/nats-io/nats.go", true},
		{"domain/id.go", own + "domain/message", true},
		{"domain/message/state.go", own + "domain", false},
		{"domain/message/state.go", own + "domain/tenant", true},
		{"domain/message/state.go", "github.com/google/uuid", true},
		{"domain/message/state_test.go", own + "domain/logtest", false},
		{"domain/message/state_test.go", own + "streams", true},
		{"domain/logtest/suite.go", own + "domain/message", false},
		{"streams/log.go", own + "domain/message", false},
		{"streams/log.go", own + "internal/vault", false},
		{"streams/log.go", "github.com/nats-io/nats.go/jetstream", false},
		{"streams/log.go", own + "projections", true},
		{"streams/log.go", "go.mongodb.org/mongo-driver/v2/mongo", true},
		{"streams/log.go", own + "domain/logtest", true},
		{"streams/log_test.go", own + "domain/logtest", false},
		{"projections/runner.go", own + "domain/customer", false},
		{"projections/runner.go", own + "projections/mongostore", true},
		{"projections/runner.go", "github.com/nats-io/nats.go", true},
		{"projections/runner.go", "modernc.org/sqlite", true},
		{"projections/runner_test.go", own + "projections/sqlitestore", false},
		{"projections/mongostore/store.go", own + "projections", false},
		{"projections/mongostore/store.go", "go.mongodb.org/mongo-driver/v2/bson", false},
		{"projections/mongostore/store.go", "go.mongodb.org/mongo-driver/bson", true},
		{"projections/mongostore/store.go", own + "projections/sqlitestore", true},
		{"projections/sqlitestore/store.go", "database/sql", false},
		{"projections/sqlitestore/store.go", "go.mongodb.org/mongo-driver/v2/bson", true},
		{"dispatch/lane.go", own + "dispatch/cloudapi", false},
		{"dispatch/lane.go", own + "streams", true},
		{"dispatch/cloudapi/client.go", "net/http", false},
		{"dispatch/cloudapi/client.go", own + "dispatch/hooks", true},
		{"dispatch/cloudapi/client.go", own + "dispatch/cloudapitest", true},
		{"dispatch/cloudapi/client_test.go", own + "dispatch/cloudapitest", false},
		{"dispatch/cloudapi/client.go", "github.com/gofiber/fiber/v2", true},
		{"api/server.go", "github.com/gofiber/fiber/v2", false},
		{"api/server.go", "github.com/gofiber/fiber/v2/middleware/adaptor", false},
		{"api/server.go", own + "dispatch", true},
		{"api/server_test.go", own + "projections", true},
		{"console/embed.go", "embed", false},
		{"console/embed.go", own + "domain", true},
		{"internal/vault/vault.go", "github.com/tink-crypto/tink-go/v2/aead", false},
		{"internal/vault/vault.go", own + "streams", true},
		{"cmd/sendlog/wire.go", own + "streams", false},
		{"cmd/sendlog/wire.go", "github.com/spf13/cobra", false},
		{"cmd/sendlog/dev.go", own + "dispatch/cloudapitest", false},
		{"cmd/sendlog/dev.go", own + "domain/logtest", true},
		{"utils/strings.go", "strings", true}, // no such room
		{"internal/nested/go.mod", "", false},
		{"internal/nested/main.go", own + "streams", false}, // another module
	}
	for _, test := range tests {
		t.Run(test.file+" imports "+path.Base(test.imports), func(t *testing.T) {
			t.Parallel()
			house := t.TempDir()
			write(t, house, "go.mod", "module example.org/house\n")
			write(t, house, "internal/nested/go.mod", "module example.org/nested\n")
			if test.imports != "" {
				write(t, house, test.file, "package x\n\nimport _ \""+test.imports+"\"\n")
			}
			breaches, _, err := inspect(house)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(breaches) > 0; got != test.breach {
				t.Errorf("breach = %v, want %v: %q", got, test.breach, breaches)
			}
		})
	}
}

// inspect parses the imports of every Go file of the module at root and
// returns the breaches and the number of files. Nested modules, hidden
// directories and testdata are other worlds.
func inspect(root string) (breaches []string, files int, err error) {
	module, err := modulePath(root)
	if err != nil {
		return nil, 0, err
	}
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel != "." && otherWorld(name, d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(rel) != ".go" {
			return nil
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if why := judge(module, rel, imported); why != "" {
				breaches = append(breaches, fmt.Sprintf("%s imports %s: %s", rel, imported, why))
			}
		}
		return nil
	})
	return breaches, files, err
}

func otherWorld(dir, base string) bool {
	if strings.HasPrefix(base, ".") || base == "testdata" {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// judge says why file must not import a package, or "".
func judge(module, file, imported string) string {
	pkg := path.Dir(file)
	i := slices.IndexFunc(rooms, func(r room) bool { return matches(r.path, pkg) })
	if i < 0 {
		return pkg + " is no room of this house; give it a row in the fence first"
	}
	r, isTest := rooms[i], strings.HasSuffix(file, "_test.go")

	if own, ok := strings.CutPrefix(imported, module+"/"); ok {
		top, _, _ := strings.Cut(pkg, "/")
		switch {
		case own == pkg: // an external test of the package itself
			return ""
		case isTest && (testPackage(own) || matches("internal/...", own) || matches(top+"/...", own)):
			return ""
		case testPackage(own) && !testPackage(pkg) && !(pkg == devCommand && own == pretendMeta):
			return own + " exists for tests"
		case !matchesAny(r.ours, own):
			return pkg + " does not know " + own
		}
		return ""
	}
	switch standard := !strings.Contains(strings.Split(imported, "/")[0], "."); {
	case isTest && (standard || matchesAny(testTools, imported)):
		return ""
	case standard && slices.Contains(r.not, imported):
		return pkg + " stays away from it"
	case !standard && !matchesAny(r.theirs, imported):
		return "this technology has no place in " + pkg
	}
	return ""
}

func matchesAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, pkg) })
}

// matches reports whether pkg is named by pattern: a path, or a path and all
// below it ("x/..."), or everything ("...").
func matches(pattern, pkg string) bool {
	tree, ok := strings.CutSuffix(pattern, "...")
	if !ok {
		return pattern == pkg
	}
	return strings.HasPrefix(pkg+"/", tree)
}

func modulePath(root string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "module "); ok {
			return strings.TrimSpace(name), nil
		}
	}
	return "", errors.New("go.mod has no module line")
}

// moduleRoot is two floors up: internal/fence lives in the module it guards.
func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func write(t *testing.T, root, name, content string) {
	t.Helper()
	name = filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
