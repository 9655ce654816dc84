// Package deploy_test checks what no Docker engine is needed for: that the
// compose file, the Dockerfile, the broker's configuration and .env.example
// say what the house promises, and agree with each other.
package deploy_test

import (
	"bytes"
	"context"
	"fmt"
	"go/version"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/nats-io/nats-server/v2/server"
)

// TestComposeServices: the four services are there, each says when it is
// healthy, and no image moves by itself.
func TestComposeServices(t *testing.T) {
	t.Parallel()
	project := compose(t, example(t))
	want := []string{"app", "mongo", "mongo-express", "nats"}
	if got := slices.Sorted(maps.Keys(project.Services)); !slices.Equal(got, want) {
		t.Fatalf("services = %q, want %q", got, want)
	}
	pinned := regexp.MustCompile(`^(nats|mongo|mongo-express):\d+\.\d+`)
	for name, s := range project.Services {
		if s.HealthCheck == nil || s.HealthCheck.Disable || len(s.HealthCheck.Test) == 0 {
			t.Errorf("%s has no healthcheck", name)
		}
		if s.Build == nil && !pinned.MatchString(s.Image) {
			t.Errorf("%s: image %q is not pinned to a version", name, s.Image)
		}
		for on, dependency := range s.DependsOn {
			if dependency.Condition != types.ServiceConditionHealthy {
				t.Errorf("%s starts before %s is healthy", name, on)
			}
		}
	}
	app := project.Services["app"]
	if app.Build == nil || app.Build.Target != "dev" {
		t.Error("app is not built from the dev stage")
	}
	if len(app.DependsOn) != 2 {
		t.Errorf("app depends on %d services, want nats and mongo", len(app.DependsOn))
	}
}

// TestComposePorts: only the API is reachable from other machines; whatever
// operators use stays on the loopback of the host.
func TestComposePorts(t *testing.T) {
	t.Parallel()
	env := example(t)
	env["PORT"] = "3030"
	var got []string
	for name, s := range compose(t, env).Services {
		for _, p := range s.Ports {
			got = append(got, fmt.Sprintf("%s %s:%s->%d", name, p.HostIP, p.Published, p.Target))
		}
	}
	slices.Sort(got)
	want := []string{
		"app 127.0.0.1:3001->3001",
		"app :3030->3000",
		"mongo-express 127.0.0.1:8081->8081",
		"nats 127.0.0.1:8222->8222",
	}
	if !slices.Equal(got, want) {
		t.Errorf("published ports = %q, want %q", got, want)
	}
}

// TestComposeEnvironment: the app gets every documented setting and no other,
// finds its neighbours, and does not start without secrets.
func TestComposeEnvironment(t *testing.T) {
	t.Parallel()
	env := example(t)
	app := compose(t, env).Services["app"]
	got, want := slices.Sorted(maps.Keys(app.Environment)), slices.Sorted(maps.Keys(env))
	if !slices.Equal(got, want) {
		t.Errorf("environment of app = %q, .env.example has %q", got, want)
	}
	for name, value := range map[string]string{
		"ADMIN_ADDR": "0.0.0.0:3001",
		"HOST":       "0.0.0.0",
		"MONGO_URI":  "mongodb://mongo:27017/sendlog",
		"NATS_URL":   "nats://nats:4222",
		"PORT":       "3000",
	} {
		if v := app.Environment[name]; v == nil || *v != value {
			t.Errorf("%s of app is not %q", name, value)
		}
	}
	for _, secret := range []string{"ADMIN_KEY", "APP_SECRET", "MASTER_KEY", "VERIFY_TOKEN"} {
		without := maps.Clone(env)
		delete(without, secret)
		if _, err := load(without); err == nil || !strings.Contains(err.Error(), secret) {
			t.Errorf("without %s compose says %v; want an error that names it", secret, err)
		}
	}
}

// TestComposeMongoExpress: the password of the development console is the
// documented one, and asked for.
func TestComposeMongoExpress(t *testing.T) {
	t.Parallel()
	environment := compose(t, example(t)).Services["mongo-express"].Environment
	for name, value := range map[string]string{
		"ME_CONFIG_BASICAUTH":          "true",
		"ME_CONFIG_BASICAUTH_ENABLED":  "true",
		"ME_CONFIG_BASICAUTH_PASSWORD": "pass",
		"ME_CONFIG_BASICAUTH_USERNAME": "admin",
	} {
		if v := environment[name]; v == nil || *v != value {
			t.Errorf("%s is not %q", name, value)
		}
	}
}

// TestComposeVolumes: the source is mounted, everything mounted from the
// checkout exists, and the Go caches survive where the Dockerfile puts them.
func TestComposeVolumes(t *testing.T) {
	t.Parallel()
	project := compose(t, example(t))
	targets := map[string]string{}
	for name, s := range project.Services {
		for _, v := range s.Volumes {
			targets[name+" "+v.Target] = v.Type
			switch v.Type {
			case types.VolumeTypeBind:
				if _, err := os.Stat(v.Source); err != nil {
					t.Errorf("%s mounts what is not there: %v", name, err)
				}
			case types.VolumeTypeVolume:
				if _, ok := project.Volumes[v.Source]; !ok {
					t.Errorf("%s mounts the undeclared volume %q", name, v.Source)
				}
			}
		}
	}
	base := stage(t, "base")
	for target, kind := range map[string]string{
		"app /data":                             types.VolumeTypeVolume,
		"app /src":                              types.VolumeTypeBind,
		"mongo /data/db":                        types.VolumeTypeVolume,
		"nats /data":                            types.VolumeTypeVolume,
		"nats /etc/nats/nats-server.conf":       types.VolumeTypeBind,
		"app " + setting(t, base, "GOCACHE"):    types.VolumeTypeVolume,
		"app " + setting(t, base, "GOMODCACHE"): types.VolumeTypeVolume,
	} {
		if targets[target] != kind {
			t.Errorf("mount %q is %q, want a %s", target, targets[target], kind)
		}
	}
}

// TestBrokerConfiguration: the broker of compose understands its file, keeps
// its streams on the volume and syncs before it acknowledges.
func TestBrokerConfiguration(t *testing.T) {
	t.Parallel()
	o, err := server.ProcessConfigFile("nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case !o.JetStream:
		t.Error("JetStream is off")
	case o.StoreDir != "/data":
		t.Errorf("streams are kept in %q, the volume is at /data", o.StoreDir)
	case !o.SyncAlways:
		t.Error("events are acknowledged before they are on disk")
	case o.Port != 4222 || o.HTTPPort != 8222:
		t.Errorf("ports are %d and %d, compose expects 4222 and 8222", o.Port, o.HTTPPort)
	}
}

// TestFinalImage: what ships is the binary and certificates and nothing else,
// run by nobody, built with a Go that go.mod allows.
func TestFinalImage(t *testing.T) {
	t.Parallel()
	final := stage(t, "final")
	for _, line := range []string{
		"USER 65532:65532",
		`ENTRYPOINT ["/sendlog"]`,
		`CMD ["serve"]`,
		"EXPOSE 3000 3001",
		"VOLUME /data",
	} {
		if !slices.Contains(final, line) {
			t.Errorf("the final stage does not say %s", line)
		}
	}
	if final[0] != "FROM scratch AS final" {
		t.Errorf("the final stage starts with %q, want it to start from nothing", final[0])
	}
	if all := dockerfile(t); !strings.HasSuffix(all, strings.Join(final, "\n")) {
		t.Error("the final stage is not the last: a plain docker build would build another one")
	}
	least := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read(t, "go.mod"))
	if least == nil || version.Compare("go"+goVersion(t), "go"+least[1]) < 0 {
		t.Errorf("Dockerfile builds with Go %s, go.mod wants %v", goVersion(t), least)
	}
}

// TestExampleSettings: each variable of .env.example has a comment of its own,
// and the example keys have the shape the comments promise.
func TestExampleSettings(t *testing.T) {
	t.Parallel()
	variable := regexp.MustCompile(`^[A-Z_]+=`)
	above := ""
	for line := range strings.Lines(read(t, ".env.example")) {
		if variable.MatchString(line) && !strings.HasPrefix(above, "# ") {
			t.Errorf("no comment above %s", strings.TrimSpace(line))
		}
		above = line
	}
	env := example(t)
	if n := len(env["MASTER_KEY"]); n != 32 {
		t.Errorf("the example MASTER_KEY has %d characters, want 32", n)
	}
	if n := len(env["ADMIN_KEY"]); n < 16 {
		t.Errorf("the example ADMIN_KEY has %d characters, want 16 or more", n)
	}
}

// example reads .env.example the way compose reads .env.
func example(t *testing.T) types.Mapping {
	t.Helper()
	env, err := dotenv.Parse(strings.NewReader(read(t, ".env.example")))
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func compose(t *testing.T, env types.Mapping) *types.Project {
	t.Helper()
	project, err := load(env)
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// load interpolates and validates docker-compose.yml as the compose CLI does.
func load(env types.Mapping) (*types.Project, error) {
	root, err := filepath.Abs("..")
	if err != nil {
		return nil, err
	}
	return loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  root,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(root, "docker-compose.yml")}},
		Environment: maps.Clone(env), // the loader adds its own
	})
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// dockerfile returns the instructions of the Dockerfile: no comments, no blank
// lines, no continuations.
func dockerfile(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	for line := range strings.Lines(strings.ReplaceAll(read(t, "Dockerfile"), "\\\n", " ")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			fmt.Fprintln(&out, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.TrimSpace(out.String())
}

// stage returns the instructions of one stage, its FROM line first.
func stage(t *testing.T, name string) []string {
	t.Helper()
	var found []string
	for line := range strings.SplitSeq(dockerfile(t), "\n") {
		if strings.HasPrefix(line, "FROM ") && found != nil {
			break
		}
		if strings.HasSuffix(line, " AS "+name) || found != nil {
			found = append(found, line)
		}
	}
	if found == nil {
		t.Fatalf("Dockerfile has no stage %q", name)
	}
	return found
}

// setting returns a variable of the ENV instructions of a stage.
func setting(t *testing.T, stage []string, name string) string {
	t.Helper()
	for _, line := range stage {
		env, ok := strings.CutPrefix(line, "ENV ")
		if !ok {
			continue
		}
		for pair := range strings.FieldsSeq(env) {
			if value, ok := strings.CutPrefix(pair, name+"="); ok {
				return value
			}
		}
	}
	t.Fatalf("%s does not set %s", stage[0], name)
	return ""
}

func goVersion(t *testing.T) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^ARG GO_VERSION=(\S+)$`).FindStringSubmatch(dockerfile(t))
	if m == nil {
		t.Fatal("Dockerfile has no GO_VERSION")
	}
	return m[1]
}
