package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// childEnv makes the test binary behave as the sendlog binary.
const childEnv = "SENDLOG_TEST_AS_BINARY"

// profileEnv names the file that gets a CPU profile of the spawned process.
const profileEnv = "SENDLOG_TEST_PROFILE"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Unsetenv(childEnv)
		if path := os.Getenv(profileEnv); path != "" {
			f, err := os.Create(path)
			if err == nil {
				err = pprof.StartCPUProfile(f)
			}
			if err != nil {
				panic(err)
			}
			defer pprof.StopCPUProfile()
		}
		main()
		return
	}
	if w := os.Getenv(loadEnv); w != "" {
		if err := makeLoad(w); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// process is a sendlog of its own, to be killed.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	url  string
	said *lockedBuffer
	done chan error
}

// spawn starts a process and returns when it takes requests.
func spawn(t testing.TB, env settings, args ...string) *process {
	t.Helper()
	return spawnUntil(t, env, "API", args...)
}

// spawnUntil starts a process and returns when it has said where a thing is.
func spawnUntil(t testing.TB, env settings, thing string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Dir = t.TempDir() // no .env of the developer's
	cmd.Env = []string{childEnv + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	return await(t, cmd, thing)
}

// await starts a command and returns when it has said where a thing is, or at
// once when no thing is named.
func await(t testing.TB, cmd *exec.Cmd, thing string) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, said: &lockedBuffer{}, done: make(chan error, 1)}
	p.cmd.Stderr = p.said
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(io.TeeReader(out, p.said)); lines.Scan(); {
			if name, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), " "); name == thing {
				ready <- strings.TrimSpace(value)
			}
		}
		p.done <- p.cmd.Wait()
	}()
	t.Cleanup(p.kill)
	if thing == "" {
		return p
	}
	select {
	case p.url = <-ready:
	case err := <-p.done:
		t.Fatalf("the process ended: %v\n%s", err, p.said)
	case <-time.After(60 * time.Second):
		t.Fatalf("the process did not start\n%s", p.said)
	}
	return p
}

// kill ends the process at once and waits for its end.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		<-p.done
		p.done <- nil
	}
}

// interrupt is Ctrl-C; it returns how the process ended.
func (p *process) interrupt() error {
	_ = p.cmd.Process.Signal(os.Interrupt)
	select {
	case err := <-p.done:
		p.done <- nil
		return err
	case <-time.After(60 * time.Second):
		return fmt.Errorf("it did not stop")
	}
}

// insist posts a keyed request until it is answered: an answer that is lost, or
// says not now, is asked for again with the same key. It returns false when ctx
// ended before that.
func insist(ctx context.Context, client *http.Client, url, body string) (answer, bool) {
	for ctx.Err() == nil {
		a, err := request(ctx, client, "POST", url, body, "")
		if err == nil && a.status != 503 {
			return a, true
		}
		_ = domain.SystemClock{}.Sleep(ctx, 20*time.Millisecond)
	}
	return answer{}, false
}

// A process that is killed -9 again and again, while clients send and Meta
// answers, loses no accepted request, sends none twice, and every message
// reaches read.
func TestKillNine(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	pretend, env := meta(t, alone(t).with("APP_SECRET", "app secret", "DURABILITY", "strict", "UNKNOWN_WAIT", "10s"), time.Millisecond)
	p := spawn(t, env, "serve")
	base := p.url // the same after every restart
	client := &http.Client{Timeout: 10 * time.Second}
	a, err := request(t.Context(), client, "POST", base+"/tenants/register", `{"name":"A","phoneNumberId":"106540352242922","accessToken":"EAAtoken"}`, "")
	if err != nil || a.status != 201 {
		t.Fatalf("register: %d %s %v", a.status, a.body, err)
	}
	tenant := a.json(t)["id"].(string)

	ctx, stop := context.WithCancel(t.Context())
	var (
		mu       sync.Mutex
		accepted = map[string]string{} // by key
		clients  sync.WaitGroup
	)
	for c := range 4 {
		clients.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				key := fmt.Sprintf("key-%d-%d", c, n)
				body := fmt.Sprintf(`{"to":"+1415555%04d","text":"%s","idempotency_key":"%s"}`, (c*1000+n)%10000, key, key)
				a, answered := insist(ctx, client, base+"/tenants/"+tenant+"/send", body)
				if !answered {
					return
				}
				if a.status != 202 {
					t.Errorf("%d %s", a.status, a.body)
					return
				}
				mu.Lock()
				accepted[key] = a.json(t)["id"].(string)
				mu.Unlock()
			}
		})
	}
	kills := 5 // `make storm` asks for more
	if asked, err := strconv.Atoi(os.Getenv("SENDLOG_KILLS")); err == nil {
		kills = asked
	}
	for range kills {
		_ = domain.SystemClock{}.Sleep(ctx, time.Duration(100+rng.IntN(400))*time.Millisecond) // the moment of the kill is what is random here
		p.kill()
		p = spawn(t, env, "serve")
	}
	stop()
	clients.Wait()
	t.Logf("%d accepted over %d kills, %d calls at Meta", len(accepted), kills, len(pretend.Ledger()))
	if len(accepted) == 0 {
		t.Fatal("nothing was accepted between the kills")
	}

	twice := 0
	for key, id := range accepted {
		eventually(t, "message "+id+" of "+key+" to be read", func() bool {
			a, err := request(t.Context(), client, "GET", base+"/tenants/"+tenant+"/messages/"+id, "", "")
			return err == nil && a.status == 200 && a.json(t)["status"] == message.Read
		})
		if n := pretend.Accepted(domain.MessageID(id)); n != 1 {
			twice++
			t.Errorf("%s was accepted by Meta %d times", id, n)
		}
	}
	if err := p.interrupt(); err != nil {
		t.Errorf("Ctrl-C: %v\n%s", err, p.said)
	}
}

// Ctrl-C drains and exits 0; a second process on the same data is refused in
// words; the data is there again after a restart.
func TestProcessLifecycle(t *testing.T) {
	t.Parallel()
	env := alone(t)
	p := spawn(t, env, "serve")
	client := &http.Client{Timeout: 10 * time.Second}
	a, err := request(t.Context(), client, "POST", p.url+"/tenants/register", `{"name":"A","phoneNumberId":"1","accessToken":"mock_x"}`, "")
	if err != nil || a.status != 201 {
		t.Fatalf("register: %d %s %v", a.status, a.body, err)
	}
	tenant := a.json(t)["id"].(string)

	second := binary(t, env, "serve")
	if out, err := second.CombinedOutput(); err == nil || !strings.Contains(string(out), "in use by another sendlog process") {
		t.Errorf("a second process said %q, %v", out, err)
	}
	if err := p.interrupt(); err != nil {
		t.Errorf("Ctrl-C: %v\n%s", err, p.said)
	}
	wrong := binary(t, env.with("MASTER_KEY", strings.Repeat("z", 32)), "serve")
	if out, err := wrong.CombinedOutput(); err == nil || !strings.Contains(string(out), "MASTER_KEY does not open the data") || !strings.Contains(string(out), tenant) {
		t.Errorf("a wrong master key said %q, %v", out, err)
	}
	p = spawn(t, env, "serve")
	if a, err := request(t.Context(), client, "GET", p.url+"/tenants/"+tenant, "", ""); err != nil || a.status != 200 {
		t.Errorf("after the restart: %d %s %v", a.status, a.body, err)
	}
}

func binary(t testing.TB, env settings, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{childEnv + "=1", "HOME=" + cmd.Dir}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	return cmd
}
