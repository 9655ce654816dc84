package storetest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// MongoURI returns where tests find a MongoDB: MONGO_URI when that is set,
// else the stand-in internal/mongowire, which is started once per test binary
// and ends with it. Only under -short, and without MONGO_URI, the test is
// skipped, saying so. Every test uses a database of its own and drops it.
func MongoURI(t testing.TB) string {
	t.Helper()
	if uri := os.Getenv("MONGO_URI"); uri != "" {
		return uri
	}
	if testing.Short() {
		t.Skip("-short: left out, it needs a MongoDB (MONGO_URI) or the stand-in, which takes a minute to build")
	}
	s, err := standIn()
	if err != nil {
		t.Fatalf("start the stand-in for MongoDB: %v", err)
	}
	runtime.KeepAlive(s.stdin) // collecting it would close it
	return s.uri
}

// MongoDatabase returns a name no other test uses.
func MongoDatabase(t testing.TB) string {
	return fmt.Sprintf("test_%x_%x", os.Getpid(), nextDatabase())
}

var nextDatabase = counter()

func counter() func() int {
	var mu sync.Mutex
	n := 0
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		n++
		return n
	}
}

// standIn starts internal/mongowire. It serves until its standard input
// closes, which the end of this process does, however it ends.
var standIn = sync.OnceValues(func() (server, error) {
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(file), "..", "..", "internal", "mongowire")
	if _, err := os.Stat(dir); err != nil { // built with -trimpath: ask where the module is
		out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/sendlog/sendlog").Output()
		if err != nil {
			return server{}, fmt.Errorf("find the module: %w", err)
		}
		dir = filepath.Join(strings.TrimSpace(string(out)), "internal", "mongowire")
	}
	cmd := exec.Command("go", "run", "-C", dir, "-tags", "ferretdb_no_postgresql", ".")
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return server{}, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return server{}, err
	}
	if err := cmd.Start(); err != nil {
		return server{}, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return server{}, fmt.Errorf("read its address: %w", err)
	}
	return server{strings.TrimSpace(line), stdin}, nil
})

// server is a running stand-in.
type server struct {
	uri   string
	stdin io.Closer // open as long as it is to run
}
