package loopback

import "testing"

func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"localhost:9092": true, "localhost": true, "LocalHost:1": true, "127.0.0.1:9092": true, "127.8.9.10": true, "[::1]:9092": true, "::1": true,
		"": false, ":9092": false, "0.0.0.0:9092": false, "[::]:1": false, "10.0.0.1:9092": false, "broker:9092": false, "localhost.example.com:9092": false,
		"notlocalhost": false, "127.0.0.1.example.com": false, "[::ffff:127.0.0.1]:1": true,
	} {
		if got := IsAddress(address); got != want {
			t.Errorf("%q: %t, want %t", address, got, want)
		}
	}
}
