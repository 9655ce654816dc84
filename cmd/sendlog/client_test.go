package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Subcommands ask the server that has their settings, unless another is named.
func TestServerOfTheSettings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env       settings
		base, key string
	}{
		"nothing":          {settings{}, "http://127.0.0.1:3001", ""},
		"address and key":  {settings{"ADMIN_ADDR": " 127.0.0.1:3101 ", "ADMIN_KEY": "k"}, "http://127.0.0.1:3101", "k"},
		"every address":    {settings{"ADMIN_ADDR": "0.0.0.0:3101"}, "http://127.0.0.1:3101", ""},
		"no address":       {settings{"ADMIN_ADDR": ":3101"}, "http://127.0.0.1:3101", ""},
		"every IPv6 one":   {settings{"ADMIN_ADDR": "[::]:3101"}, "http://[::1]:3101", ""},
		"a name":           {settings{"ADMIN_ADDR": "localhost:3101"}, "http://localhost:3101", ""},
		"a port by name":   {settings{"ADMIN_ADDR": "10.0.0.1:http"}, "http://10.0.0.1:80", ""},
		"key goes before":  {settings{"SENDLOG_KEY": "mine", "ADMIN_KEY": "k"}, "http://127.0.0.1:3001", "mine"},
		"another server":   {settings{"SENDLOG_URL": "https://far/", "SENDLOG_KEY": "its", "ADMIN_ADDR": "x", "ADMIN_KEY": "k"}, "https://far", "its"},
		"no key of theirs": {settings{"SENDLOG_URL": "https://far", "ADMIN_KEY": "k"}, "https://far", ""},
	} {
		base, key, err := (&client{env: c.env.get}).server()
		if err != nil || base != c.base || key != c.key {
			t.Errorf("%s: %s %q %v", name, base, key, err)
		}
	}
	if _, _, err := (&client{env: settings{"ADMIN_ADDR": "3101"}.get}).server(); err == nil || !strings.Contains(err.Error(), `ADMIN_ADDR is "3101"; write host:port`) {
		t.Errorf("a wrong address: %v", err)
	}
}

// What stands in .env counts for a subcommand as it does for the server.
func TestSubcommandsReadDotEnv(t *testing.T) {
	t.Parallel()
	admin := "127.0.0.1:" + freePort(t)
	env := alone(t).with("ADMIN_ADDR", admin, "ADMIN_KEY", "an admin key of length")
	p := spawn(t, env, "serve")
	client := &http.Client{Timeout: 10 * time.Second}
	a, err := request(t.Context(), client, "POST", p.url+"/tenants/register", `{"name":"Acme","phoneNumberId":"1","accessToken":"mock_x"}`, env["ADMIN_KEY"])
	if err != nil || a.status != 201 {
		t.Fatalf("register: %d %s %v", a.status, a.body, err)
	}
	for command, want := range map[string]string{
		"tenants": "Acme",
		"doctor":  "server at http://" + admin + "\n",
	} {
		cmd := binary(t, nil, command)
		if err := os.WriteFile(filepath.Join(cmd.Dir, ".env"), []byte("ADMIN_ADDR="+admin+"\nADMIN_KEY='an admin key of length'\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, _ := cmd.CombinedOutput() // doctor may find something
		if !strings.Contains(string(out), want) || command == "doctor" && !strings.HasPrefix(string(out), want) {
			t.Errorf("sendlog %s: %s", command, out)
		}
	}
}
