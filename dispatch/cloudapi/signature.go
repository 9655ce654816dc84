package cloudapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// SignatureHeader carries the signature of a webhook (section 4.2). The older
// X-Hub-Signature (SHA-1) is ignored.
const SignatureHeader = "X-Hub-Signature-256"

const signaturePrefix = "sha256="

// Sign returns the value of [SignatureHeader] for a body: HMAC-SHA256 keyed
// with the app secret, in lower-case hex, as Meta writes it.
func Sign(secret string, body []byte) string {
	return signaturePrefix + hex.EncodeToString(mac(secret, body))
}

// Verify reports whether header signs the exact raw body under one of the
// secrets (the current one, and the previous one while it is being rotated).
//
// The prefix is required as Meta spells it; hex is accepted in either case,
// which changes nothing about who can make it. The comparison takes the same
// time wherever the bytes differ, and every secret is tried. An empty secret
// never verifies, and neither does a call without secrets: whether an unsigned
// webhook may pass is for the caller to say.
func Verify(body []byte, header string, secrets ...string) bool {
	digits, ok := strings.CutPrefix(header, signaturePrefix)
	if !ok || len(digits) != 2*sha256.Size {
		return false
	}
	given, err := hex.DecodeString(digits)
	if err != nil {
		return false
	}
	verified := false
	for _, secret := range secrets {
		if secret != "" && hmac.Equal(given, mac(secret, body)) {
			verified = true
		}
	}
	return verified
}

func mac(secret string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write(body)
	return h.Sum(nil)
}
