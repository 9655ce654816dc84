package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/internal/vault"
	"github.com/sendlog/sendlog/streams"
)

// readKeys reads the master key that seals, from KEYSET_FILE or MASTER_KEY, and
// the one before it.
func (c *config) readKeys(env func(string) string) error {
	var faults []error
	if path := strings.TrimSpace(env("KEYSET_FILE")); path != "" {
		if env("MASTER_KEY") != "" {
			faults = append(faults, configError{"KEYSET_FILE", "and MASTER_KEY are both set", "leave one of them out; the one before goes to MASTER_KEY_PREVIOUS"})
		}
		kek, err := readKeyset(path)
		c.KEK, faults = kek, append(faults, err)
	} else if key, err := c.masterKey(env("MASTER_KEY")); err != nil {
		faults = append(faults, err)
	} else {
		c.MasterKey = key
		c.KEK, err = vault.NewKEK(key)
		faults = append(faults, err)
	}
	if previous := env("MASTER_KEY_PREVIOUS"); previous != "" { // not trimmed, as MASTER_KEY
		key, err := vault.ParseMasterKey(previous)
		if err != nil {
			return errors.Join(append(faults, configError{"MASTER_KEY_PREVIOUS", err.Error(), "write the former MASTER_KEY as it was, or leave it out once `sendlog keys rotate` is done"})...)
		}
		kek, err := vault.NewKEK(key)
		c.FormerKEKs, faults = []vault.KEK{kek}, append(faults, err)
	}
	return errors.Join(faults...)
}

// readKeyset reads a keyset file. It holds keys in the clear, so nobody else
// may read it.
func readKeyset(path string) (vault.KEK, error) {
	info, err := os.Stat(path)
	if err != nil {
		return vault.KEK{}, configError{"KEYSET_FILE", "cannot be read", "set it to a Tink keyset in JSON, or set MASTER_KEY"}
	}
	if info.Mode().Perm()&0o077 != 0 {
		return vault.KEK{}, configError{"KEYSET_FILE", "can be read by others", "make it yours alone: chmod 600"}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return vault.KEK{}, configError{"KEYSET_FILE", "cannot be read", "mend its permissions, or set MASTER_KEY"}
	}
	kek, err := vault.ReadKeyset(text)
	if err != nil {
		return vault.KEK{}, configError{"KEYSET_FILE", err.Error(), "make one with: tinkey create-keyset --key-template AES256_GCM"}
	}
	return kek, nil
}

// checkMasterKey refuses master keys that do not open every tenant's data key,
// before anything is sealed under them. Of those that say by which master key
// they are wrapped one is tried for each master key; the rest are all tried.
func (h *house) checkMasterKey() error {
	tried := map[string]bool{}
	after := domain.TenantID("")
	for {
		page := h.directory.List(after, domain.MaxPage)
		if len(page) == 0 {
			return nil
		}
		for _, t := range page {
			after = t.ID
			kek := h.directory.KEK(t.ID)
			if tried[kek] && kek != "" {
				continue
			}
			tried[kek] = true
			wrapped, _ := h.directory.DataKey(t.ID)
			if err := h.vault.Check(wrapped, t.ID); err != nil {
				return configError{"MASTER_KEY", "does not open the data in " + h.config.DataDir + " (" + err.Error() + ")",
					"set the key this data was written with (" + filepath.Join(h.config.DataDir, "master.key") + " holds it if none was set then), " +
						"as MASTER_KEY_PREVIOUS if MASTER_KEY is a new one, or another DATA_DIR; nothing was changed"}
			}
		}
	}
}

// recheckEvery is how soon an expired key's NATS connections end. A revoked
// one's end as soon as the directory has heard of it.
const recheckEvery = time.Second

// recheckListeners ends NATS connections whose keys are no longer good.
func (h *house) recheckListeners(ctx context.Context, e *streams.Embedded) error {
	tick := time.NewTicker(recheckEvery)
	defer tick.Stop()
	for {
		narrowed := h.directory.Narrowed()
		e.Recheck()
		select {
		case <-narrowed:
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
