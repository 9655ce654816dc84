package fence

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// localPath finds a path of somebody's machine: one that starts in a home or
// working directory. A URL or a longer path that contains the word is fine.
var localPath = regexp.MustCompile(`(?:^|[^A-Za-z0-9_.~})-])/(?:home|root|work|Users)/[A-Za-z0-9._-]+`)

// TestNoFileNamesALocalPath: what is in the repository is true on every
// machine.
func TestNoFileNamesALocalPath(t *testing.T) {
	t.Parallel()
	root := moduleRoot(t)
	for _, name := range repositoryFiles(t, root) {
		b, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue // deleted, and git does not know it yet
		}
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(b, 0) >= 0 {
			continue // not text
		}
		if found := localPath.Find(b); found != nil {
			line := 1 + bytes.Count(b[:bytes.Index(b, found)], []byte("\n"))
			t.Errorf("%s:%d names a path of one machine: %q", name, line, found)
		}
	}
}

// TestLocalPath: the pattern finds paths and leaves URLs alone.
func TestLocalPath(t *testing.T) {
	t.Parallel()
	slash := "/" // keeps this file itself clean
	for text, want := range map[string]bool{
		"DATA_DIR=" + slash + "home/ann/data": true,
		"cd " + slash + "work/main":           true,
		"`" + slash + "root/.cache`":          true,
		"https://example.org/home/page":       false,
		"./work/in/progress":                  false,
		"the work/life balance of /data":      false,
	} {
		if got := localPath.MatchString(text); got != want {
			t.Errorf("localPath in %q = %v, want %v", text, got, want)
		}
	}
}

// repositoryFiles lists what git tracks or would track. Outside a checkout (a
// source archive) every file counts.
func repositoryFiles(t *testing.T, root string) []string {
	t.Helper()
	git := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	git.Dir = root
	if out, err := git.Output(); err == nil {
		return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
	}
	var files []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "data"):
			return fs.SkipDir
		case d.Type().IsRegular():
			rel, err := filepath.Rel(root, name)
			files = append(files, rel)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
