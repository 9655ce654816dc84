package cloudapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
)

type vectors struct {
	Secret  string `json:"app_secret"`
	Vectors []struct {
		Name   string `json:"name"`
		Body   string `json:"body"`
		Header string `json:"x_hub_signature_256"`
		Valid  bool   `json:"valid"`
	} `json:"vectors"`
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	var v vectors
	if err := json.Unmarshal(read(t, "signature_vectors.json"), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerifyVectors(t *testing.T) {
	t.Parallel()
	all := readVectors(t)
	for _, v := range all.Vectors {
		if got := cloudapi.Verify([]byte(v.Body), v.Header, all.Secret); got != v.Valid {
			t.Errorf("%s: got %v", v.Name, got)
		}
		if v.Valid && cloudapi.Sign(all.Secret, []byte(v.Body)) != strings.ToLower(v.Header) {
			t.Errorf("%s: signed otherwise", v.Name)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	body := []byte(`{"entry":[]}`)
	good := cloudapi.Sign("new", body)
	for name, ok := range map[string]bool{
		"no secret":         cloudapi.Verify(body, good),
		"empty secret":      cloudapi.Verify(body, cloudapi.Sign("", body), ""),
		"other body":        cloudapi.Verify(append(body, ' '), good, "new"),
		"empty header":      cloudapi.Verify(body, "", "new"),
		"prefix only":       cloudapi.Verify(body, "sha256=", "new"),
		"prefix upper case": cloudapi.Verify(body, strings.Replace(good, "sha256", "SHA256", 1), "new"),
		"older algorithm":   cloudapi.Verify(body, strings.Replace(good, "sha256", "sha1", 1), "new"),
		"one digit short":   cloudapi.Verify(body, good[:len(good)-1], "new"),
		"space behind":      cloudapi.Verify(body, good+" ", "new"),
		"not hex":           cloudapi.Verify(body, good[:len(good)-1]+"g", "new"),
	} {
		if ok {
			t.Errorf("%s was verified", name)
		}
	}
	if !cloudapi.Verify(body, good, "old", "new") || !cloudapi.Verify(body, good, "new", "old") {
		t.Error("during a rotation both secrets must do")
	}
}

// FuzzVerify: only what Sign gives is verified, whatever the case of its hex.
func FuzzVerify(f *testing.F) {
	all := readVectors(f)
	for _, v := range all.Vectors {
		f.Add([]byte(v.Body), v.Header, all.Secret)
	}
	f.Fuzz(func(t *testing.T, body []byte, header, secret string) {
		want := secret != "" && strings.HasPrefix(header, "sha256=") && strings.ToLower(header) == cloudapi.Sign(secret, body)
		if got := cloudapi.Verify(body, header, secret); got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}
