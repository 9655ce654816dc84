package streams

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/minio/highwayhash"

	"github.com/sendlog/sendlog/internal/durable"
)

// The server keeps the settings of a stream in two files, meta.inf and its
// checksum meta.sum, and writes one after the other. Killed in between, it
// leaves the stream out at its next start with a warning, events and all; and
// when the stream is made again, over what is there, it does not write the
// missing file either (nats-server 2.15.2, filestore.go: writeStreamMeta,
// newFileStoreWithCreated; seen 2026-11-23). So whatever it was interrupted in
// is finished before it starts.

const (
	metaFile = "meta.inf"
	metaSum  = "meta.sum"
)

// mend finishes the settings of the streams in a directory.
func mend(dir string, log *slog.Logger) error {
	streams, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the log's streams: %w", err)
	}
	for _, s := range streams {
		if !s.IsDir() {
			continue
		}
		mended, err := mendStream(filepath.Join(dir, s.Name()), s.Name())
		if err != nil {
			return fmt.Errorf("mend stream %s: %w", s.Name(), err)
		}
		if mended {
			log.Warn("streams: finished the settings of a stream, which a kill had interrupted", "stream", s.Name())
		}
	}
	return nil
}

func mendStream(dir, name string) (mended bool, err error) {
	settings, err := os.ReadFile(filepath.Join(dir, metaFile))
	if errors.Is(err, os.ErrNotExist) || err == nil && len(settings) == 0 {
		return false, nil // not yet a stream: whoever makes it writes both files
	}
	if err != nil {
		return false, err
	}
	key := sha256.Sum256([]byte(name))
	hash, err := highwayhash.New64(key[:])
	if err != nil {
		return false, err
	}
	hash.Write(settings) // never fails
	want := hex.EncodeToString(hash.Sum(nil))
	if sum, err := os.ReadFile(filepath.Join(dir, metaSum)); err == nil && string(sum) == want {
		return false, nil
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	var config struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(settings, &config) != nil || config.Name != name {
		// Torn by a power cut. Made again, the stream finds its events.
		return true, errors.Join(os.Remove(filepath.Join(dir, metaFile)), durable.SyncDir(dir))
	}
	return true, durable.Replace(filepath.Join(dir, metaSum), []byte(want))
}
