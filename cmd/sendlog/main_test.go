package main

import (
	"os/exec"
	"strings"
	"testing"
)

// However the binary is built, it knows which version it is: `make run` must
// not put one there that does not.
func TestBuildsKnowTheirVersion(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"build", "run"} {
		cmd := exec.CommandContext(t.Context(), "make", "-n", "VERSION=v9.8.7", target)
		cmd.Dir = "../.."
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("make -n %s: %v\n%s", target, err, out)
		}
		built := false
		for line := range strings.SplitSeq(string(out), "\n") {
			if !strings.Contains(line, "-o bin/sendlog ") {
				continue
			}
			built = true
			if !strings.Contains(line, "-X main.version=v9.8.7") {
				t.Errorf("make %s builds without a version: %s", target, line)
			}
		}
		if !built {
			t.Errorf("make %s builds nothing:\n%s", target, out)
		}
	}
}

// The version given at link time goes before what the build knows.
func TestVersionGivenAtLinkTime(t *testing.T) { // alone: it changes what the linker sets
	defer func(was string) { version = was }(version)
	version = "v9.8.7"
	if got := versionText(); got != "v9.8.7" {
		t.Errorf("it says %s", got)
	}
}
