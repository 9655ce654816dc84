package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// peerEnv names the directory of the peer, bench/peer; without it the peer is
// not measured.
const peerEnv = "SENDLOG_PEER"

// newPeerBench starts Redis as it is usually kept durable (an append-only file,
// synced every second), the peer's two processes and a pretend Meta.
func newPeerBench(b *testing.B, dir string) *sendBench {
	port := freePort(b)
	redis := await(b, exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", b.TempDir(),
		"--appendonly", "yes", "--appendfsync", "everysec"), "")
	meta := spawnUntil(b, settings{}, "listens", "mock-graph", "--addr", "127.0.0.1:0")
	part := func(role string) *process {
		cmd := exec.Command("node", filepath.Join(dir, "peer.js"), role)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "REDIS_PORT=" + port, "GRAPH_URL=" + meta.url}
		return await(b, cmd, "listens")
	}
	web, worker := part("web"), part("worker")
	s := &sendBench{parts: map[string]int{"load": os.Getpid(), "meta": meta.cmd.Process.Pid, "redis": redis.cmd.Process.Pid,
		"web": web.cmd.Process.Pid, "worker": worker.cmd.Process.Pid}}
	client := &http.Client{Timeout: 10 * time.Second}
	for i := range benchNumbers {
		a, err := request(b.Context(), client, "POST", web.url+"/tenants/register",
			fmt.Sprintf(`{"name":"Bench","phoneNumberId":"1065403522%05d","accessToken":"EAAbench"}`, i), "")
		if err != nil || a.status != 201 {
			b.Fatalf("register: %d %s %v", a.status, a.body, err)
		}
		s.send = append(s.send, web.url+"/tenants/"+a.json(b)["id"].(string)+"/send")
	}
	ask := func(path string, v any) bool {
		a, err := request(b.Context(), client, "GET", worker.url+path, "", "")
		return err == nil && a.status == 200 && json.Unmarshal(a.body, v) == nil
	}
	s.settled = func() bool {
		var n int
		return ask("/outcomes/count", &n) && n == int(s.posted.Load())
	}
	s.outcomes = func() map[string]time.Time {
		var ms map[string]int64
		if !ask("/outcomes", &ms) {
			b.Fatal("the peer does not tell its outcomes")
		}
		at := make(map[string]time.Time, len(ms))
		for id, t := range ms {
			at[id] = time.UnixMilli(t)
		}
		return at
	}
	return s
}
