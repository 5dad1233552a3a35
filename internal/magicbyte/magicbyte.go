// Package magicbyte recognises Schema Registry's wire format, a zero byte and the schema's id before the value, where it is not what a
// codec reads.
package magicbyte

import (
	"encoding/binary"
	"fmt"
)

// headerLen is that of the zero byte and the id.
const headerLen = 5

// Header is where Schema Registry's serializers put the schema's id that do not put it before the value.
const Header = "__value_schema_id"

// Reason says what is wrong with data that begins as the wire format does, and "" of other data. It is for formats whose values never
// begin with a zero byte.
func Reason(data []byte) string {
	if len(data) < headerLen || data[0] != 0 {
		return ""
	}
	id := binary.BigEndian.Uint32(data[1:headerLen])
	return fmt.Sprintf("value begins with Schema Registry's magic byte (schema id %d): use codec/schemaregistry", id)
}
