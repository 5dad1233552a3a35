package variable

import "strings"

// ForCommand returns an error's text as a command says it: the library's errors name a config's field and its variable,
// and whoever runs a command knows no fields.
func ForCommand(text string) string { return fields.Replace(text) }

// fields are how the library names settings of a connection, and what is left of that.
var fields = strings.NewReplacer(
	"set Brokers or KAFKA_BROKERS", "set KAFKA_BROKERS",
	"TLS.CertFile and TLS.KeyFile (KAFKA_TLS_CERT_FILE, KAFKA_TLS_KEY_FILE)", "KAFKA_TLS_CERT_FILE and KAFKA_TLS_KEY_FILE",
	"CertFile and KeyFile go together; one is empty (KAFKA_TLS_CERT_FILE, KAFKA_TLS_KEY_FILE)", "KAFKA_TLS_CERT_FILE and KAFKA_TLS_KEY_FILE go together; one is empty",
	"TLS.CAFile (KAFKA_TLS_CA_FILE)", "KAFKA_TLS_CA_FILE",
	"TLS: CAFile (KAFKA_TLS_CA_FILE)", "KAFKA_TLS_CA_FILE",
	"TLS: CAFile ", "TLS: ",
	"TLS.ServerName (KAFKA_TLS_SERVER_NAME)", "KAFKA_TLS_SERVER_NAME",
	"TLS: Required is set and TLS is off: turn it on (KAFKA_TLS_REQUIRED, KAFKA_TLS_ENABLED)", "KAFKA_TLS_REQUIRED is set and TLS is off: turn it on (KAFKA_TLS_ENABLED)",
	"MaxDecompressedBatchBytes (KAFKA_CONSUMER_MAX_DECOMPRESSED_BATCH_BYTES)", "KAFKA_CONSUMER_MAX_DECOMPRESSED_BATCH_BYTES",
	"ClientID ", "KAFKA_CLIENT_ID ",
	"ConnectTimeout is negative (KAFKA_CLIENT_CONNECT_TIMEOUT)", "KAFKA_CLIENT_CONNECT_TIMEOUT is negative",
	"DeliveryTimeout is negative (KAFKA_PRODUCER_DELIVERY_TIMEOUT)", "KAFKA_PRODUCER_DELIVERY_TIMEOUT is negative",
	"Linger is negative (KAFKA_PRODUCER_LINGER)", "KAFKA_PRODUCER_LINGER is negative",
	"Linger is", "linger is",
	"Compression is", "compression is",
	"MaxBufferedRecords is negative (KAFKA_PRODUCER_MAX_BUFFERED_RECORDS)", "KAFKA_PRODUCER_MAX_BUFFERED_RECORDS is negative",
	"MaxBufferedBytes is negative (KAFKA_PRODUCER_MAX_BUFFERED_BYTES)", "KAFKA_PRODUCER_MAX_BUFFERED_BYTES is negative",
	"MaxMessageBytes is negative (KAFKA_PRODUCER_MAX_MESSAGE_BYTES)", "KAFKA_PRODUCER_MAX_MESSAGE_BYTES is negative",
	"MaxMessageBytes is", "the largest batch is",
	"ControlKey (KAFKA_CONTROL_KEY, KAFKA_CONTROL_KEY_FILE)", "KAFKA_CONTROL_KEY or KAFKA_CONTROL_KEY_FILE",
	"AcceptUnsealed is set but there is no ControlKey (KAFKA_ACCEPT_UNSEALED, KAFKA_CONTROL_KEY)", "KAFKA_ACCEPT_UNSEALED is set but there is no KAFKA_CONTROL_KEY",
	"SASL: Mechanism is", "KAFKA_SASL_MECHANISM is",
	" (KAFKA_SASL_MECHANISM); others, such as AWS's, are SASL.Custom", "",
	"no Mechanism: want", "no KAFKA_SASL_MECHANISM: want",
	"SASL: Username is", "KAFKA_SASL_USERNAME is",
	"SASL: Password begins", "KAFKA_SASL_PASSWORD begins",
	"needs a Username and a Password (KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD)", "needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD",
	"needs a Token or a TokenFile (KAFKA_SASL_TOKEN_FILE)", "needs KAFKA_SASL_TOKEN_FILE",
	"takes no Username and no Password", "takes no KAFKA_SASL_USERNAME and no KAFKA_SASL_PASSWORD",
	"SASL.Token or TokenFile (KAFKA_SASL_TOKEN_FILE)", "KAFKA_SASL_TOKEN_FILE",
	"set AllowPlaintext (KAFKA_SASL_ALLOW_PLAINTEXT)", "set KAFKA_SASL_ALLOW_PLAINTEXT",
	"set SASL.AllowPlaintext (KAFKA_SASL_ALLOW_PLAINTEXT)", "set KAFKA_SASL_ALLOW_PLAINTEXT",
)
