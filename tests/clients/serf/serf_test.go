// A member of the pool that is HashiCorp's own serf: it joins a lictor server, with encryption and compression.
package serf

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	hashi "github.com/hashicorp/serf/serf"
)

const (
	firstKey  = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="
	secondKey = "c29tZSBrZXkgdGhhdCBpcyAzMiBieXRlcyBsb25nISE="
	thirdKey  = "AAECAwQFBgcICQoLDA0ODw=="
)

func decoded(t *testing.T, key string) []byte {
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func member(t *testing.T, name string, key []byte) (*hashi.Serf, *memberlist.Keyring, error) {
	config := hashi.DefaultConfig()
	config.NodeName = name
	config.Tags = map[string]string{
		"role": "node", "dc": "dc1", "segment": "", "vsn": "2", "vsn_min": "2", "vsn_max": "3", "build": "1.14.0:",
		"id": "11111111-2222-3333-4444-555555555555",
	}
	config.LogOutput = io.Discard
	config.ProtocolVersion = 4
	config.LeavePropagateDelay = 300 * time.Millisecond
	lan := memberlist.DefaultLANConfig()
	lan.BindAddr = "127.0.0.1"
	lan.BindPort, _ = strconv.Atoi(os.Getenv("OWN_PORT"))
	lan.AdvertisePort = lan.BindPort
	lan.GossipInterval = 50 * time.Millisecond
	lan.ProbeInterval = 200 * time.Millisecond
	lan.LogOutput = io.Discard
	if key != nil {
		ring, err := memberlist.NewKeyring(nil, key)
		if err != nil {
			t.Fatal(err)
		}
		lan.Keyring = ring
	}
	config.MemberlistConfig = lan
	made, err := hashi.Create(config)
	return made, lan.Keyring, err
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("waited in vain: %s", what)
}

func call(t *testing.T, method, path, body string) (int, []byte) {
	t.Helper()
	request, err := http.NewRequest(method, "http://"+os.Getenv("LICTOR_HTTP")+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer
}

func statusOf(t *testing.T, name string) int {
	_, body := call(t, "GET", "/v1/agent/members", "")
	var rows []struct {
		Name   string
		Status int
	}
	if err := json.Unmarshal(body, &rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row.Name == name {
			return row.Status
		}
	}
	return 0
}

func keyOperation(t *testing.T, what string, answer *hashi.KeyResponse, err error) {
	t.Helper()
	if err != nil || answer.NumErr != 0 || answer.NumResp != 2 || answer.NumNodes != 2 {
		t.Fatalf("%s: %v %+v", what, err, answer)
	}
}

func TestStrangersLearnWhy(t *testing.T) {
	for name, one := range map[string]struct {
		key    []byte
		reason string
	}{
		"wrong": {decoded(t, thirdKey), "No installed keys could decrypt the message"},
		"plain": {nil, "Remote state is encrypted and encryption is not configured"},
	} {
		stranger, _, err := member(t, name, one.key)
		if err != nil {
			t.Fatal(err)
		}
		joined, err := stranger.Join([]string{os.Getenv("LICTOR_GOSSIP")}, true)
		if joined != 0 || err == nil || !strings.Contains(err.Error(), one.reason) {
			t.Errorf("%s: %d %v", name, joined, err)
		}
		stranger.Shutdown()
		until(t, "the port is free", func() bool {
			listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("OWN_PORT"))
			if err == nil {
				listener.Close()
			}
			return err == nil
		})
	}
}

func TestLife(t *testing.T) {
	us, ring, err := member(t, "original", decoded(t, firstKey))
	if err != nil {
		t.Fatal(err)
	}
	defer us.Shutdown()
	if joined, err := us.Join([]string{os.Getenv("LICTOR_GOSSIP")}, true); joined != 1 || err != nil {
		t.Fatal(joined, err)
	}
	until(t, "lictor sees us", func() bool { return statusOf(t, "original") == 1 })
	server := ""
	until(t, "we see lictor", func() bool {
		for _, one := range us.Members() {
			if one.Tags["role"] == "consul" && one.Status == hashi.StatusAlive {
				server = one.Name
			}
		}
		return server != ""
	})

	// We ask, lictor answers.
	parameters := us.DefaultQueryParams()
	parameters.RequestAck = true
	asked, err := us.Query("anybody", nil, parameters)
	if err != nil {
		t.Fatal(err)
	}
	acks := map[string]bool{}
	for name := range asked.AckCh() {
		acks[name] = true
		if len(acks) == 2 {
			asked.Close()
			break
		}
	}
	if !acks[server] || !acks["original"] {
		t.Fatal(acks)
	}

	// Our key manager rotates lictor's keys.
	keys := us.KeyManager()
	listed, err := keys.ListKeys()
	keyOperation(t, "list", listed, err)
	if listed.Keys[firstKey] != 2 || listed.PrimaryKeys[firstKey] != 2 {
		t.Fatalf("%+v", listed)
	}
	answer, err := keys.InstallKey(secondKey)
	keyOperation(t, "install", answer, err)
	answer, err = keys.UseKey(secondKey)
	keyOperation(t, "use", answer, err)
	answer, err = keys.RemoveKey(firstKey)
	keyOperation(t, "remove", answer, err)
	answer, err = keys.RemoveKey(secondKey)
	if err == nil || answer.NumErr != 2 || answer.Messages[server] != "Removing the primary key is not allowed" {
		t.Fatalf("%v %+v", err, answer)
	}

	// Lictor rotates ours.
	for _, step := range [][2]string{{"POST", thirdKey}, {"PUT", thirdKey}, {"DELETE", secondKey}} {
		status, body := call(t, step[0], "/v1/operator/keyring?relay-factor=1", fmt.Sprintf(`{"Key": %q}`, step[1]))
		if status != 200 {
			t.Fatal(step, status, string(body))
		}
	}
	if primary := base64.StdEncoding.EncodeToString(ring.GetPrimaryKey()); primary != thirdKey {
		t.Fatal(primary)
	}
	if len(ring.GetKeys()) != 1 {
		t.Fatal(len(ring.GetKeys()))
	}

	// Each finds out how far the other is.
	until(t, "lictor's coordinate", func() bool {
		place, known := us.GetCachedCoordinate(server)
		return known && place.IsValid()
	})

	// We stay alive for longer than a suspicion takes, so pings are answered both ways; then we leave.
	time.Sleep(3 * time.Second)
	if status := statusOf(t, "original"); status != 1 {
		t.Fatal(status)
	}
	for _, one := range us.Members() {
		if one.Status != hashi.StatusAlive {
			t.Fatal(one)
		}
	}
	if err := us.Leave(); err != nil {
		t.Fatal(err)
	}
	until(t, "lictor sees that we left", func() bool { return statusOf(t, "original") == 3 })
}
