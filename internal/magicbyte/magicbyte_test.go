package magicbyte

import "testing"

func TestOnlyAZeroByteAndAnIDAreTheWireFormat(t *testing.T) {
	const want = "value begins with Schema Registry's magic byte (schema id 4294967295): use codec/schemaregistry"
	for data, want := range map[string]string{
		"": "", "\x00": "", "\x00\xff\xff\xff": "", "{}": "", "\x01\xff\xff\xff\xff": "",
		"\x00\xff\xff\xff\xff": want, "\x00\xff\xff\xff\xffMARK": want,
	} {
		if got := Reason([]byte(data)); got != want {
			t.Errorf("%q: %q, want %q", data, got, want)
		}
	}
}
