// Is a request really from your database? Standard Webhooks (profiles entity, standard,
// cloudevents and website_toolbox), with nothing but Go's standard library.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"time"
)

// headers: names in lower case; body: the raw bytes, exactly as they came
func verify(secret string, headers map[string]string, body []byte, tolerance time.Duration) bool {
	id, timestamp := headers["webhook-id"], headers["webhook-timestamp"]
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if id == "" || err != nil {
		return false
	}
	if age := time.Since(time.Unix(seconds, 0)); age > tolerance || age < -tolerance {
		return false
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	right := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	// one entry per secret that is live: any may match
	for _, entry := range strings.Split(headers["webhook-signature"], " ") {
		if hmac.Equal([]byte(entry), []byte(right)) {
			return true
		}
	}
	return false
}

// go run verify.go SECRET HEADERS.json BODY [TOLERANCE]: ends with 0 if it is right, else with 1
func main() {
	var headers map[string]string
	tolerance := 300
	h, errHeaders := os.ReadFile(os.Args[2])
	body, errBody := os.ReadFile(os.Args[3])
	if errHeaders != nil || errBody != nil || json.Unmarshal(h, &headers) != nil {
		os.Exit(2)
	}
	if len(os.Args) > 4 {
		tolerance, _ = strconv.Atoi(os.Args[4])
	}
	if !verify(os.Args[1], headers, body, time.Duration(tolerance)*time.Second) {
		os.Exit(1)
	}
}
