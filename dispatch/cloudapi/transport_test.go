package cloudapi

import (
	"testing"
	"time"
)

// The transport talks to the host it was given, by no proxy of the
// environment, and keeps enough connections for a burst.
func TestTransport(t *testing.T) {
	t.Parallel()
	tr := newTransport()
	defer tr.CloseIdleConnections()
	if tr.Proxy != nil {
		t.Error("a proxy from the environment would see the token")
	}
	if tr.MaxIdleConnsPerHost < 256 || tr.MaxIdleConns < tr.MaxIdleConnsPerHost || tr.DisableKeepAlives {
		t.Error("connections are not kept")
	}
	c, err := New(Config{BaseURL: MetaURL + "/", Version: "v25.0"})
	if err != nil || c.timeout != 30*time.Second || c.base != "https://graph.facebook.com/v25.0" {
		t.Errorf("got %+v, %v", c, err)
	}
}
