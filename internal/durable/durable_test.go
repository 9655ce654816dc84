package durable_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sendlog/sendlog/internal/durable"
)

// Create leaves what is there alone and Replace does not; neither leaves
// anything else behind, and only the owner may read it.
func TestWholeFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	holds := func(want string) {
		t.Helper()
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("it holds %q, %v, want %q", got, err, want)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
	for _, step := range []struct {
		write func(string, []byte) error
		data  string
		want  string
	}{{durable.Create, "one", "one"}, {durable.Create, "two", "one"}, {durable.Replace, "three", "three"}, {durable.Replace, "", ""}} {
		if err := step.write(path, []byte(step.data)); err != nil {
			t.Fatal(err)
		}
		holds(step.want)
	}
	if err := durable.Replace(filepath.Join(path, "below"), nil); err == nil {
		t.Error("a file was written below a file")
	}
}
