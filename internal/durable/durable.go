// Package durable writes small files that are there whole or not at all,
// whatever happens meanwhile, and survive a power cut once it returns.
package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Replace writes a file of mode 0600, over the one of that name if there is
// one.
func Replace(path string, data []byte) error { return write(path, data, os.Rename) }

// Create writes a file of mode 0600 unless there is one of that name, which is
// left as it is and no error.
func Create(path string, data []byte) error {
	return write(path, data, func(draft, path string) error {
		if err := os.Link(draft, path); !errors.Is(err, os.ErrExist) {
			return err
		}
		return nil
	})
}

// write puts a draft that is on disk in place, and then its name on disk.
func write(path string, data []byte, place func(draft, path string) error) error {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	draft, err := os.CreateTemp(dir, name+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(draft.Name()) // it fails when it was moved into place
	_, err = draft.Write(data)
	if err = errors.Join(err, draft.Sync(), draft.Close()); err != nil {
		return err
	}
	if err := place(draft.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("fsync directory: %w", err)
	}
	return nil
}
