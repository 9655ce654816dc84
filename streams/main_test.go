package streams_test

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// The tests leave no goroutine behind. The same binary is the process that
// gets killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(doomedDir); dir != "" {
		doomed(dir)
		return
	}
	// These tests wait for a disk or a deadline most of the time; a number on
	// the command line still wins.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}
