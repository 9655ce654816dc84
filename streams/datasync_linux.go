package streams

import (
	"errors"
	"os"
	"syscall"
)

// syncData makes what was written to a file durable, and as much about it as is
// needed to read it: its length. The time it was written may be lost, and costs
// a third of an fsync.
func syncData(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var synced error
	err = conn.Control(func(fd uintptr) {
		for synced = syscall.EINTR; errors.Is(synced, syscall.EINTR); {
			synced = syscall.Fdatasync(int(fd))
		}
	})
	return errors.Join(err, synced)
}
