package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sendlog/sendlog/streams"
)

// Nothing set is a house of one process on loopback that keeps its own key.
func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	c, err := readConfig(settings{"DATA_DIR": dir}.get)
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:3000" || c.AdminAddr != "127.0.0.1:3001" || c.Durability != streams.Strict ||
		c.GraphURL != "https://graph.facebook.com" || len(c.Roles) != 3 {
		t.Errorf("defaults are %+v", c)
	}
	again, err := readConfig(settings{"DATA_DIR": dir}.get)
	if err != nil || !bytes.Equal(c.MasterKey, again.MasterKey) {
		t.Errorf("the made master key is not kept: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "master.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("master.key: %v, %v", info.Mode(), err)
	}
}

// Every wrong setting is named with what is wrong and what to do, and none of
// its value is shown when it is a secret.
func TestConfigErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env  settings
		want []string
	}{
		"master key":             {settings{"MASTER_KEY": "secretsecret"}, []string{"MASTER_KEY must be 32 characters", "openssl rand -hex 32"}},
		"port":                   {settings{"PORT": "99999"}, []string{`PORT is "99999"`, "write a number"}},
		"admin address":          {settings{"ADMIN_ADDR": "3001"}, []string{"ADMIN_ADDR is", "127.0.0.1:3001"}},
		"short admin key":        {settings{"ADMIN_KEY": "secretsecret"}, []string{"ADMIN_KEY is shorter than 16"}},
		"open to the world":      {settings{"HOST": "0.0.0.0"}, []string{"HOST is an address others can reach", "set ADMIN_KEY", "APP_SECRET is not set"}},
		"admin port alone":       {settings{"ADMIN_ADDR": "3001", "ADMIN_KEY": ""}, []string{`ADMIN_ADDR is "3001"; write host:port`}},
		"only a comma":           {settings{"APP_SECRET": ","}, []string{"APP_SECRET has no secret in it", "leave it out"}},
		"only a space":           {settings{"APP_SECRET": " "}, []string{"APP_SECRET has no secret in it"}},
		"data in a file":         {settings{"DATA_DIR": "config_test.go", "MASTER_KEY": ""}, []string{"DATA_DIR (config_test.go) is not a directory", "set DATA_DIR"}},
		"data below a file":      {settings{"DATA_DIR": "config_test.go/data", "MASTER_KEY": ""}, []string{"DATA_DIR cannot be used", "set DATA_DIR"}},
		"open admin":             {settings{"ADMIN_ADDR": "0.0.0.0:3001"}, []string{"ADMIN_ADDR is an address others can reach"}},
		"one port for both":      {settings{"PORT": "3001"}, []string{"ADMIN_ADDR is the address of the public listener too (HOST and PORT); give one of the two another port"}},
		"durability":             {settings{"DURABILITY": "fast"}, []string{`DURABILITY is "fast"`, "strict or interval"}},
		"graph":                  {settings{"GRAPH_URL": "graph.facebook.com"}, []string{"GRAPH_URL is not"}},
		"version":                {settings{"WHATSAPP_API_VERSION": "20"}, []string{`WHATSAPP_API_VERSION is "20"`}},
		"roles":                  {settings{"ROLES": "api,cook"}, []string{`ROLES has "cook"`, "ROLES splits the house"}},
		"idempotency":            {settings{"IDEMPOTENCY": "yes"}, []string{`IDEMPOTENCY is "yes"`, "optional or required"}},
		"monitor":                {settings{"NATS_MONITOR_URL": "nats1:8222"}, []string{"NATS_MONITOR_URL", "http://nats1:8222"}},
		"roles without log":      {settings{"ROLES": "api"}, []string{"ROLES splits the house", "NATS_URL"}},
		"shared log, no key":     {settings{"NATS_URL": "nats://127.0.0.1:1", "MASTER_KEY": ""}, []string{"MASTER_KEY is not set, and the log is shared"}},
		"log hot":                {settings{"LOG_HOT": "3"}, []string{"LOG_HOT is not a duration", "72h"}},
		"log hot too short":      {settings{"LOG_HOT": "59s"}, []string{"LOG_HOT is not a duration of 1m or more"}},
		"retention":              {settings{"LOG_RETENTION": "a year"}, []string{"LOG_RETENTION is not a duration", "for ever"}},
		"retention too short":    {settings{"LOG_RETENTION": "71h"}, []string{"LOG_RETENTION is not a duration of LOG_HOT or more"}},
		"unknown wait":           {settings{"UNKNOWN_WAIT": "60"}, []string{"UNKNOWN_WAIT is not a duration", "with its unit", "60s"}},
		"listen on a far log":    {settings{"NATS_URL": "nats://127.0.0.1:1", "NATS_LISTEN": "127.0.0.1:4222"}, []string{"NATS_LISTEN is for the embedded log"}},
		"several faults at once": {settings{"PORT": "x", "DURABILITY": "x"}, []string{"PORT is", "DURABILITY is"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := settings{"DATA_DIR": t.TempDir(), "MASTER_KEY": strings.Repeat("k", 32)}
			for k, v := range c.env {
				env[k] = v
			}
			_, err := readConfig(env.get)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, words := range c.want {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("%q does not say %q", err, words)
				}
			}
			if n := strings.Count(err.Error(), "\n") + 1; n > 1 && len(c.want) == 1 {
				t.Errorf("one fault is told as %d: %q", n, err)
			}
			if strings.Contains(err.Error(), "secretsecret") {
				t.Errorf("%q shows a secret", err)
			}
		})
	}
}

// Starts at the same time agree on one master key.
func TestMasterKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys := make([][]byte, 16)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			c, err := readConfig(settings{"DATA_DIR": dir}.get)
			if err != nil {
				t.Error(err)
			}
			keys[i] = c.MasterKey
		})
	}
	all.Wait()
	for _, k := range keys {
		if !bytes.Equal(k, keys[0]) {
			t.Fatal("two starts have two master keys")
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A lost key file is not replaced by a new one when there is data under it.
func TestLostMasterKeyIsNotReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "log"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := readConfig(settings{"DATA_DIR": dir}.get)
	if err == nil || !strings.Contains(err.Error(), "master.key is missing although there is data") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "master.key")); !os.IsNotExist(err) {
		t.Error("a new key was made over existing data")
	}
}
