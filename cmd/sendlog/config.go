package main

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/internal/durable"
	"github.com/sendlog/sendlog/internal/vault"
	"github.com/sendlog/sendlog/streams"
)

// The parts of the house a process may run.
const (
	roleAPI      = "api"
	roleDispatch = "dispatch"
	roleProject  = "project"
)

// Whether requests to send need an idempotency key (IDEMPOTENCY).
const (
	keysOptional = "optional"
	keysRequired = "required"
)

// config is the environment, read once and checked. docs/configuration is the
// README's table; .env.example has a line for each.
type config struct {
	AdminAddr    string
	AdminKey     string
	AppSecrets   []string // current first; the one before it may follow after a comma
	DataDir      string
	FormerKEKs   []vault.KEK // open what was sealed before the master key was changed
	KEK          vault.KEK   // seals
	Durability   streams.Durability
	RequireKey   bool // requests to send need an idempotency key
	GraphURL     string
	GraphVer     string
	Listen       string        // host:port of the public listener
	LogHot       time.Duration // how long an event stays in the hot log at least
	LogRetention time.Duration // how long the archive keeps an event at least; 0: for ever
	MasterKey    []byte        // what KEK is made of, unless it is a keyset
	MongoURI     string
	NATSListen   string
	NATSMonitors []string // monitoring ports of the servers of NATSURL
	NATSURL      string
	Roles        []string
	UnknownWait  time.Duration
	VerifyToken  string
}

// configError names the variable, what is wrong with it and what to do.
type configError struct{ variable, wrong, todo string }

func (e configError) Error() string { return e.variable + " " + e.wrong + "; " + e.todo }

// readConfig reads and checks the environment. All faults are reported at once.
// An embedded house that has no master key yet is made one, in DATA_DIR.
func readConfig(env func(string) string) (config, error) {
	c, err := readSettings(env)
	if fault := c.checkDataDir(); fault != nil {
		return c, errors.Join(err, fault) // the key may be in there: that it cannot be read is the same fault
	}
	return c, errors.Join(err, c.readKeys(env))
}

// readSettings is readConfig without the keys. It makes nothing.
func readSettings(env func(string) string) (config, error) {
	get := func(name, fallback string) string {
		if v := strings.TrimSpace(env(name)); v != "" {
			return v
		}
		return fallback
	}
	host := get("HOST", "127.0.0.1")
	c := config{
		AdminAddr:   adminAddr(env),
		AdminKey:    get("ADMIN_KEY", ""),
		DataDir:     get("DATA_DIR", "data"),
		Durability:  streams.Durability(get("DURABILITY", string(streams.Strict))),
		GraphURL:    strings.TrimRight(get("GRAPH_URL", "https://graph.facebook.com"), "/"),
		GraphVer:    get("WHATSAPP_API_VERSION", "v25.0"),
		Listen:      net.JoinHostPort(host, get("PORT", "3000")),
		MongoURI:    get("MONGO_URI", ""),
		NATSListen:  get("NATS_LISTEN", ""),
		NATSURL:     get("NATS_URL", ""),
		Roles:       splitList(get("ROLES", "api,dispatch,project")),
		VerifyToken: get("VERIFY_TOKEN", ""),
	}
	c.NATSMonitors = splitList(get("NATS_MONITOR_URL", ""))
	c.RequireKey = get("IDEMPOTENCY", keysOptional) == keysRequired
	c.AppSecrets = splitList(get("APP_SECRET", ""))
	var err error
	if c.UnknownWait, err = time.ParseDuration(get("UNKNOWN_WAIT", domain.UnknownWait.String())); err != nil {
		c.UnknownWait = 0 // check says so
	}
	if c.LogHot, err = time.ParseDuration(get("LOG_HOT", "72h")); err != nil {
		c.LogHot = 0 // check says so
	}
	if c.LogRetention, err = time.ParseDuration(get("LOG_RETENTION", "0s")); err != nil {
		c.LogRetention = -1 // check says so
	}
	faults := c.check()
	if env("APP_SECRET") != "" && len(c.AppSecrets) == 0 { // somebody meant to have webhooks checked
		faults = append(faults, configError{"APP_SECRET", "has no secret in it", "copy it from the Meta app's basic settings, or leave it out"})
	}
	if v := get("IDEMPOTENCY", keysOptional); v != keysOptional && v != keysRequired {
		faults = append(faults, configError{"IDEMPOTENCY", fmt.Sprintf("is %q", v), "write optional or required"})
	}
	return c, errors.Join(faults...)
}

// adminAddr is where the second listener is, and where subcommands look for it.
func adminAddr(env func(string) string) string {
	return cmp.Or(strings.TrimSpace(env("ADMIN_ADDR")), "127.0.0.1:3001")
}

func wrongAdminAddr(addr string) error {
	return configError{"ADMIN_ADDR", fmt.Sprintf("is %q", addr), "write host:port, such as 127.0.0.1:3001"}
}

// checkDataDir refuses what can be no directory. One that is not there yet is
// made when it is needed.
func (c config) checkDataDir() error {
	const todo = "set DATA_DIR to a directory this user may write"
	info, err := os.Stat(c.DataDir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return configError{"DATA_DIR", "cannot be used: " + err.Error(), todo}
	case !info.IsDir():
		return configError{"DATA_DIR", "(" + c.DataDir + ") is not a directory", todo}
	}
	return nil
}

var graphVersion = regexp.MustCompile(`^v[0-9]{1,3}\.[0-9]{1,2}$`)

func (c config) check() []error {
	var faults []error
	fault := func(variable, wrong, todo string) { faults = append(faults, configError{variable, wrong, todo}) }
	if _, port, _ := net.SplitHostPort(c.Listen); !validPort(port) {
		fault("PORT", fmt.Sprintf("is %q", port), "write a number from 0 to 65535")
	}
	if _, port, err := net.SplitHostPort(c.AdminAddr); err != nil || !validPort(port) {
		faults = append(faults, wrongAdminAddr(c.AdminAddr))
	} else if c.AdminKey == "" && !loopback(c.AdminAddr) {
		fault("ADMIN_ADDR", "is an address others can reach, and no ADMIN_KEY is set", "set ADMIN_KEY, or keep it on 127.0.0.1")
	}
	if c.has(roleAPI) && sameDoor(c.AdminAddr, c.Listen) {
		fault("ADMIN_ADDR", "is the address of the public listener too (HOST and PORT)", "give one of the two another port")
	}
	if c.AdminKey != "" && len(c.AdminKey) < 16 {
		fault("ADMIN_KEY", "is shorter than 16 characters", "make one with: openssl rand -hex 16")
	}
	if c.AdminKey == "" && !loopback(c.Listen) {
		fault("HOST", "is an address others can reach, and no ADMIN_KEY is set", "set ADMIN_KEY, or leave HOST at 127.0.0.1")
	}
	if len(c.AppSecrets) == 0 && !loopback(c.Listen) {
		fault("APP_SECRET", "is not set, so anybody could post webhooks", "copy it from the Meta app's basic settings, or leave HOST at 127.0.0.1")
	}
	if c.Durability != streams.Strict && c.Durability != streams.Interval {
		fault("DURABILITY", fmt.Sprintf("is %q", c.Durability), "write strict or interval")
	}
	if u, err := url.Parse(c.GraphURL); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		fault("GRAPH_URL", "is not an http(s) address", "leave it out for https://graph.facebook.com")
	}
	if !graphVersion.MatchString(c.GraphVer) {
		fault("WHATSAPP_API_VERSION", fmt.Sprintf("is %q", c.GraphVer), "write it as v25.0")
	}
	for _, r := range c.Roles {
		if !slices.Contains([]string{roleAPI, roleDispatch, roleProject}, r) {
			fault("ROLES", fmt.Sprintf("has %q", r), "list any of api, dispatch, project, separated by commas")
		}
	}
	if len(c.Roles) < 3 && c.NATSURL == "" {
		fault("ROLES", "splits the house, but the log is embedded and belongs to one process", "set NATS_URL and MONGO_URI, or leave ROLES out")
	}
	if c.NATSURL != "" && c.MongoURI == "" && len(c.Roles) < 3 {
		fault("MONGO_URI", "is not set, and the embedded read models belong to one process", "set MONGO_URI, or leave ROLES out")
	}
	if c.UnknownWait < time.Second {
		fault("UNKNOWN_WAIT", "is not a duration of 1s or more, with its unit", "write 60s for 60 seconds, or 5m; Meta's statuses take seconds, so shorter waits may send twice")
	}
	if c.LogHot < time.Minute {
		fault("LOG_HOT", "is not a duration of 1m or more, with its unit", "write 72h for 72 hours; it is how long a restart has to read and an idempotency key is known without the read models")
	}
	if c.LogRetention != 0 && c.LogRetention < c.LogHot {
		fault("LOG_RETENTION", "is not a duration of LOG_HOT or more, with its unit", "write 8760h for a year, or leave it out to keep everything for ever")
	}
	if _, port, err := net.SplitHostPort(c.NATSListen); c.NATSListen != "" && (err != nil || !validPort(port)) {
		fault("NATS_LISTEN", fmt.Sprintf("is %q", c.NATSListen), "write host:port, such as 127.0.0.1:4222")
	} else if c.NATSListen != "" && c.AdminKey == "" && !loopback(c.NATSListen) {
		fault("NATS_LISTEN", "is an address others can reach, and no ADMIN_KEY is set", "set ADMIN_KEY, or keep it on 127.0.0.1")
	}
	for _, m := range c.NATSMonitors {
		if u, err := url.Parse(m); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			fault("NATS_MONITOR_URL", "has something that is not an http(s) address", "write the monitoring port of each server, such as http://nats1:8222, separated by commas")
		}
	}
	if c.NATSListen != "" && c.NATSURL != "" {
		fault("NATS_LISTEN", "is for the embedded log, and NATS_URL is set", "leave one of them out")
	}
	return faults
}

// masterKey reads MASTER_KEY. Without it, an embedded house makes a key of its
// own beside the data and keeps it; a shared log needs a shared key.
func (c config) masterKey(value string) ([]byte, error) {
	// Not trimmed: 32 raw characters may begin or end with a space.
	if value != "" {
		key, err := vault.ParseMasterKey(value)
		if err != nil {
			return nil, configError{"MASTER_KEY", err.Error(), "make one with: openssl rand -hex 32"}
		}
		return key, nil
	}
	if c.NATSURL != "" {
		return nil, configError{"MASTER_KEY", "is not set, and the log is shared (NATS_URL)", "make one with: openssl rand -hex 32, the same for every process"}
	}
	path := filepath.Join(c.DataDir, "master.key")
	key, err := readMasterKey(path)
	if !errors.Is(err, os.ErrNotExist) {
		return key, err
	}
	if _, err := os.Stat(filepath.Join(c.DataDir, "log")); err == nil {
		return nil, configError{"MASTER_KEY", "is not set, and " + path + " is missing although there is data",
			"restore that file from a backup, or set MASTER_KEY to the key the data was written with"}
	}
	if err := makeMasterKey(path); err != nil {
		return nil, err
	}
	return readMasterKey(path) // not what was made here: another start may have been first
}

func readMasterKey(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, err
	case err != nil:
		return nil, configError{"MASTER_KEY", "is not set, and " + path + " cannot be read", "mend its permissions, or set MASTER_KEY"}
	}
	key, err := vault.ParseMasterKey(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, configError{"MASTER_KEY", "is not set, and " + path + " " + err.Error(), "restore that file from a backup, or set MASTER_KEY"}
	}
	return key, nil
}

// makeMasterKey makes a key file whole and durable before anything is sealed
// under it. One that is there already is left alone.
func makeMasterKey(path string) error {
	dir := filepath.Dir(path)
	unusable := func(verb string, err error) error {
		return configError{"DATA_DIR", "cannot be " + verb + ": " + err.Error(), "set DATA_DIR to a directory this user may write"}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return unusable("created", err)
	}
	key := make([]byte, vault.KeySize)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("make a master key: %w", err)
	}
	if err := durable.Create(path, []byte(hex.EncodeToString(key)+"\n")); err != nil {
		return unusable("written", err)
	}
	return nil
}

func (c config) has(role string) bool { return slices.Contains(c.Roles, role) }

func validPort(p string) bool {
	_, err := net.LookupPort("tcp", p)
	return err == nil && p != ""
}

// loopback reports whether an address can be reached from this machine only.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// sameDoor reports whether two addresses cannot both be listened on. Port 0 is
// a free one each time.
func sameDoor(a, b string) bool {
	door := func(addr string) (host string, port int) {
		host, name, _ := net.SplitHostPort(addr)
		port, _ = net.LookupPort("tcp", name)
		if ip := net.ParseIP(host); ip.IsUnspecified() {
			host = "" // all there are
		} else if host == "localhost" {
			host = "127.0.0.1"
		}
		return host, port
	}
	hostA, portA := door(a)
	hostB, portB := door(b)
	return portA == portB && portA != 0 && (hostA == hostB || hostA == "" || hostB == "")
}

func splitList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
