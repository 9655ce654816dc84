package fence

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTablesAreWhole: every row of a table in the documents has as many cells
// as its head. A reader is not shown what is beyond, and misses what is not
// there.
func TestTablesAreWhole(t *testing.T) {
	t.Parallel()
	root := moduleRoot(t)
	for _, name := range repositoryFiles(t, root) {
		if filepath.Ext(name) != ".md" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue // deleted, and git does not know it yet
		}
		if err != nil {
			t.Fatal(err)
		}
		head, number := 0, 0
		for line := range strings.Lines(string(b)) {
			number++
			if !strings.HasPrefix(line, "|") {
				head = 0
				continue
			}
			n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") - 1
			if head == 0 {
				head = n
			}
			if n != head {
				t.Errorf("%s:%d: a row of %d cells under a head of %d", name, number, n, head)
			}
		}
	}
}
