//go:build !linux

package streams

import "os"

// syncData makes what was written to a file durable.
func syncData(f *os.File) error { return f.Sync() }
